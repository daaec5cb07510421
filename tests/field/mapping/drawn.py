"""Maps that the tests draw, so that the true values are known."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.measure.class_map import (
    NO_DATA,
    CellBand,
    CellPredictions,
    ClassMap,
)

CLASSES = ("quartz", "mica, dark", "Glaukonit \u03b4")


def drawn_map(codes: NDArray[Any], **changes: Any) -> ClassMap:
    """A map of these codes with cells of one pixel and an unknown scale, unless `changes` say otherwise."""
    cell = changes.get("cell", 1)
    height, width = (cell * length for length in codes.shape)
    values = {
        "classes": CLASSES,
        "height": height,
        "width": width,
        "cell": 1,
        "micrometres_per_pixel": None,
        "codes": codes.astype(np.uint8),
        "confidence": np.where(codes == NO_DATA, NO_DATA, 80).astype(np.uint8),
        "unfamiliar": np.zeros(codes.shape, np.bool_),
        "by_hand": np.zeros(codes.shape, np.bool_),
        **changes,
    }
    return ClassMap(**values)


def disc(size: int, y: float, x: float, radius: float) -> NDArray[np.bool_]:
    """bool [size, size]: the pixels whose centres are in a disc."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    inside: NDArray[np.bool_] = np.hypot(rows - y, columns - x) <= radius
    return inside


class DrawnPredictions(CellPredictions):
    """The given predictions for cells of `cell` pixels.

    Args:
        probabilities: [rows, columns, C]; NaN where there is no data.
        scores: [rows, columns]; those below 0 are unfamiliar.
    """

    def __init__(
        self, probabilities: NDArray[Any], scores: NDArray[Any] | None = None, cell: int = 1, **lengths: int
    ) -> None:
        self.rows, self.columns, classes = probabilities.shape
        self.classes = tuple(f"class {code}" for code in range(classes))
        self.micrometres_per_pixel = None
        self.cell = cell
        self.height, self.width = lengths.get("height", cell * self.rows), lengths.get("width", cell * self.columns)
        known = ~np.isnan(probabilities).any(-1)
        unfamiliar = np.zeros_like(known) if scores is None else (scores < 0) & known
        self._all = CellBand(0, np.nan_to_num(probabilities).astype(np.float32), unfamiliar, known)

    def bands(self, rows_of_cells: int | None = None) -> Iterator[CellBand]:
        step = rows_of_cells or 7
        _, probabilities, unfamiliar, known = self._all
        for top in range(0, self.rows, step):
            rows = slice(top, top + step)
            yield CellBand(top, probabilities[rows], unfamiliar[rows], known[rows])
