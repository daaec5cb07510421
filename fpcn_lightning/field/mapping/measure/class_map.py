"""The map of a section: of each cell the most likely class and its probability.

Between the centres of four windows, their predictions are interpolated bilinearly. Windows that overlap by half are
thereby averaged with weights that fall from 1 at the centre of a window to 0 at its edge.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MAX_MAPPED_CLASSES
from fpcn_lightning.field.mapping.classify.prediction_store import WindowPredictions

NO_DATA = MAX_MAPPED_CLASSES
"""The code of cells without data; classes are coded by their position in the bundle's list."""

MAX_BAND_NUMBERS = 4_000_000  # probabilities that are computed at once

_BAND_CELLS = 1_000_000  # that are measured at once

Floats = NDArray[np.float32]


class CellBand(NamedTuple):
    """Some rows of cells.

    Attributes:
        top: the first of them.
        probabilities: float32 [h, columns, C]; zeros where not known.
        unfamiliar: bool [h, columns], looks unlike the pictures of the training.
        known: bool [h, columns], there is a prediction, and at least half of the cell is known.
    """

    top: int
    probabilities: Floats
    unfamiliar: NDArray[np.bool_]
    known: NDArray[np.bool_]


class CellPredictions:
    """The predictions for the cells of a section, interpolated from those of the windows.

    Args:
        predicted: the predictions for the windows.
        classes: their names.
        threshold: a cell with a lower score is unfamiliar.
        micrometres_per_pixel: of the section; None if unknown.

    Attributes:
        predicted: as given.
        classes: as given.
        micrometres_per_pixel: as given.
        height: of the section, pixels.
        width: likewise.
        cell: size of a cell, pixels.
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
        self.height, self.width, self.cell = predicted.cells.height, predicted.cells.width, predicted.cells.size
        self.rows, self.columns = predicted.cells.rows, predicted.cells.columns
        self._threshold = threshold

    def bands(self, rows_of_cells: int | None = None) -> Iterator[CellBand]:
        """All cells from top to bottom, `rows_of_cells` at once; None chooses a number that fits into memory."""
        step = rows_of_cells or max(1, MAX_BAND_NUMBERS // (self.columns * len(self.classes)))
        return (self._band(top, min(top + step, self.rows)) for top in range(0, self.rows, step))

    def _band(self, top: int, bottom: int) -> CellBand:
        predicted, windows = self.predicted, self.predicted.windows
        first_row, first_column = windows.first_centre
        down = _Neighbours.of(range(top, bottom), self.cell, first_row, windows.stride, windows.rows)
        across = _Neighbours.of(range(self.columns), self.cell, first_column, windows.stride, windows.columns)
        used = slice(down.before[0], down.after[-1] + 1)
        down = down._replace(before=down.before - used.start, after=down.after - used.start)
        scores = np.array(predicted.scores[used])[..., None]
        predictions = np.concatenate((np.array(predicted.probabilities[used]), scores, np.ones_like(scores)), axis=-1)
        predictions[np.isnan(scores[..., 0])] = 0
        interpolated = _interpolate(_interpolate(predictions, down, 0), across, 1)
        weights = interpolated[..., -1]
        known = (weights > 0) & predicted.coverage[top:bottom]
        interpolated /= np.where(known, weights, 1)[..., None]
        interpolated[~known] = 0
        return CellBand(top, interpolated[..., :-2], (interpolated[..., -2] < self._threshold) & known, known)


class _Neighbours(NamedTuple):
    """The windows before and after the centre of each cell along one axis; both are the same beyond the outermost."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    share: Floats  # weight of the window after

    @classmethod
    def of(cls, cells: range, cell: int, first: float, stride: int, count: int) -> "_Neighbours":
        places = np.clip(((np.array(cells) + 0.5) * cell - first) / stride, 0, count - 1)
        before = np.minimum(places.astype(np.int64), max(count - 2, 0))
        return cls(before, np.minimum(before + 1, count - 1), (places - before).astype(np.float32))


def _interpolate(predictions: Floats, neighbours: _Neighbours, axis: int) -> Floats:
    share = neighbours.share[:, None, None] if axis == 0 else neighbours.share[:, None]
    before, after = predictions.take(neighbours.before, axis), predictions.take(neighbours.after, axis)
    interpolated: Floats = before * (1 - share) + after * share
    return interpolated


@dataclass(frozen=True)
class ClassMap:
    """A section as a grid of square cells; those at the right and lower border may be cropped.

    Attributes:
        classes: names in the order of the codes.
        height, width: of the section in pixels.
        cell: size of a cell in pixels.
        micrometres_per_pixel: of the section; None if unknown.
        codes: uint8 [rows, columns], the most likely class, or `NO_DATA`.
        confidence: uint8 [rows, columns], probability of that class in percent, or `NO_DATA`.
        unfamiliar: bool [rows, columns], whether the cell looks unlike the pictures of the training.
        by_hand: bool [rows, columns], whether the class is that of a person, not of the network.
    """

    classes: tuple[str, ...]
    height: int
    width: int
    cell: int
    micrometres_per_pixel: float | None
    codes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    unfamiliar: NDArray[np.bool_]
    by_hand: NDArray[np.bool_]

    @property
    def row_edges(self) -> NDArray[np.int64]:
        """int64 [rows + 1], where the rows of cells begin and the last one ends, in pixels."""
        return cell_edges(self.height, self.cell)

    @property
    def column_edges(self) -> NDArray[np.int64]:
        """int64 [columns + 1], as `row_edges`."""
        return cell_edges(self.width, self.cell)

    @property
    def bands(self) -> list[slice]:
        """Rows of cells in parts that are processed one after the other, so that memory stays bounded."""
        rows, columns = self.codes.shape
        edges = [*range(0, rows, max(1, _BAND_CELLS // columns)), rows]
        return [slice(first, last) for first, last in pairwise(edges)]


def make_class_map(cells: CellPredictions) -> ClassMap:
    """Find the most likely class of each cell.

    Raises:
        UserError: more classes than fit into a byte.
    """
    if len(cells.classes) > MAX_MAPPED_CLASSES:
        raise UserError(f"a map has at most {MAX_MAPPED_CLASSES} classes, but the bundle has {len(cells.classes)}.")
    codes = np.full((cells.rows, cells.columns), NO_DATA, np.uint8)
    confidence, unfamiliar = codes.copy(), np.zeros(codes.shape, np.bool_)
    for band in cells.bands():
        rows = slice(band.top, band.top + len(band.known))
        codes[rows][band.known] = band.probabilities.argmax(-1)[band.known]
        confidence[rows][band.known] = np.rint(100 * band.probabilities.max(-1))[band.known]
        unfamiliar[rows] = band.unfamiliar
    return ClassMap(
        classes=tuple(cells.classes),
        height=cells.height,
        width=cells.width,
        cell=cells.cell,
        micrometres_per_pixel=cells.micrometres_per_pixel,
        codes=codes,
        confidence=confidence,
        unfamiliar=unfamiliar,
        by_hand=np.zeros(codes.shape, np.bool_),
    )


def cell_edges(length: int, cell: int) -> NDArray[np.int64]:
    """int64 [cells + 1], where the cells along an edge of the section begin and the last one ends, in pixels."""
    return np.append(np.arange(0, length, cell), length)


def centres(edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [cells], the centres of the cells between `cell_edges`."""
    return (edges[1:] + edges[:-1]) / 2


def cells_at(cells: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The cells [rows, columns] in the centres of the pixels of a picture [h, w], since codes have no mean."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * count // (2 * wanted)
        for count, wanted in zip(cells.shape, shape[:2], strict=True)
    )
    return cells[np.ix_(rows, columns)]
