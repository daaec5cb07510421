"""From the answers of windows to a map of cells.

Between the centres of four windows their answers are interpolated bilinearly. Windows that overlap by half thereby
blend with weights that fall from 1 at a window's centre to 0 at its edge, like a tent.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.predictions import WindowPredictions

BAND_NUMBERS = 4_000_000  # probabilities that are computed at once

Floats = NDArray[np.float32]


class Band(NamedTuple):
    """Some rows of cells.

    Attributes:
        top: the first of them.
        probabilities: float32 [h, columns, C]; zeros where not known.
        unfamiliar: bool [h, columns], looks unlike the pictures that the network was trained with.
        known: bool [h, columns], whether there is an answer, and the better part of the cell in the section.
    """

    top: int
    probabilities: Floats
    unfamiliar: NDArray[np.bool_]
    known: NDArray[np.bool_]


class Surface:
    """The map of a section's cells.

    Args:
        answered: what the network said.
        classes: their names.
        threshold: a cell with a lower score is unfamiliar.
        micrometres_per_pixel: of the section; None where it is not known.

    Attributes:
        answered: as given.
        classes: as given.
        micrometres_per_pixel: as given.
        height: of the section, pixels.
        width: likewise.
        cell: side of a cell, pixels.
        rows: cells from top to bottom.
        columns: cells from left to right.
    """

    def __init__(
        self,
        predicted: WindowPredictions,
        classes: tuple[str, ...],
        threshold: float,
        micrometres_per_pixel: float | None,
    ) -> None:
        self.predicted = predicted
        self.classes = classes
        self.micrometres_per_pixel = micrometres_per_pixel
        self.height, self.width, self.cell = predicted.cells.height, predicted.cells.width, predicted.cells.side
        self.rows, self.columns = predicted.cells.rows, predicted.cells.columns
        self._threshold = threshold

    def bands(self, rows_of_cells: int | None = None) -> Iterator[Band]:
        """All cells from top to bottom, so many rows at once; None takes as many as fit well into memory."""
        step = rows_of_cells or max(1, BAND_NUMBERS // (self.columns * len(self.classes)))
        return (self._band(top, min(top + step, self.rows)) for top in range(0, self.rows, step))

    def _band(self, top: int, bottom: int) -> Band:
        predicted, windows = self.predicted, self.predicted.windows
        first_row, first_column = windows.first
        down = _Between.of(range(top, bottom), self.cell, first_row, windows.stride, windows.rows)
        across = _Between.of(range(self.columns), self.cell, first_column, windows.stride, windows.columns)
        used = slice(down.before[0], down.after[-1] + 1)
        down = down._replace(before=down.before - used.start, after=down.after - used.start)
        scores = np.array(predicted.scores[used])[..., None]
        predictions = np.concatenate((np.array(predicted.probabilities[used]), scores, np.ones_like(scores)), axis=-1)
        predictions[np.isnan(scores[..., 0])] = 0
        blended = _blended(_blended(predictions, down, 0), across, 1)
        weights = blended[..., -1]
        known = (weights > 0) & predicted.coverage[top:bottom]
        blended /= np.where(known, weights, 1)[..., None]
        blended[~known] = 0
        return Band(top, blended[..., :-2], (blended[..., -2] < self._threshold) & known, known)


class _Between(NamedTuple):
    """Between which windows the middle of each cell along one axis lies; beyond the outermost, they alone count."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    share: Floats  # of the one after

    @classmethod
    def of(cls, cells: range, cell: int, first: float, stride: int, count: int) -> "_Between":
        places = np.clip(((np.array(cells) + 0.5) * cell - first) / stride, 0, count - 1)
        before = np.minimum(places.astype(np.int64), max(count - 2, 0))
        return cls(before, np.minimum(before + 1, count - 1), (places - before).astype(np.float32))


def _blended(predictions: Floats, between: _Between, axis: int) -> Floats:
    share = between.share[:, None, None] if axis == 0 else between.share[:, None]
    before, after = predictions.take(between.before, axis), predictions.take(between.after, axis)
    blended: Floats = before * (1 - share) + after * share
    return blended
