"""The map of a section: of each cell the likeliest class, how sure that is, and how sure the areas are."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.surface import Surface

NO_DATA = 255
"""The code of cells that show nothing, or nothing whole; classes are coded by their place in the bundle's list."""

_BAND_CELLS = 1_000_000  # measured at once


class Share(NamedTuple):
    """What the probabilities say of a class: its share of the area with data, and the standard deviation of that."""

    expected: float
    deviation: float


@dataclass(frozen=True)
class ClassMap:
    """A section as a grid of square cells; those at the right and lower border may be cut.

    Attributes:
        classes: names in the order of the codes.
        height, width: of the section in pixels.
        cell: side of a cell in pixels.
        micrometres_per_pixel: of the section; None where it is not known.
        codes: uint8 [rows, columns], the likeliest class, or `NO_DATA`.
        confidence: uint8 [rows, columns], probability of that class in percent, or `NO_DATA`.
        unfamiliar: bool [rows, columns], whether the cell looks unlike the training pictures.
        shares: of each class by the probabilities, see `class_map`.
    """

    classes: tuple[str, ...]
    height: int
    width: int
    cell: int
    micrometres_per_pixel: float | None
    codes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    unfamiliar: NDArray[np.bool_]
    shares: tuple[Share, ...]

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
        """Rows of cells in portions that are worked on one after the other, so that memory stays bounded."""
        rows, columns = self.codes.shape
        edges = [*range(0, rows, max(1, _BAND_CELLS // columns)), rows]
        return [slice(first, last) for first, last in pairwise(edges)]


def class_map(surface: Surface, window: int) -> ClassMap:
    """Find the likeliest class of each cell, and the share of each class with its uncertainty.

    The expected share of a class is the mean of its calibrated probability over the area with data. A place that has
    the class with probability p adds p (1 - p) to the variance. Places that one window sees are wrong together, so
    that the section is cut into squares of a window's side: inside a square errors are taken as fully correlated (their
    standard deviations add up), between squares as independent (their variances do). This knows nothing of a network
    that is wrong in the same way all over the section.

    Args:
        surface: the answers.
        window: side of what the network saw at once, in pixels of the section.

    Raises:
        UserError: more classes than a byte can tell apart.
    """
    if len(surface.classes) > NO_DATA:
        raise UserError(f"a map holds at most {NO_DATA} classes, and the bundle has {len(surface.classes)}.")
    codes = np.full((surface.rows, surface.columns), NO_DATA, np.uint8)
    confidence, unfamiliar = codes.copy(), np.zeros(codes.shape, np.bool_)
    heights, widths = (np.diff(cell_edges(side, surface.cell)) for side in (surface.height, surface.width))
    sums = _Sums(surface, window)
    for band in surface.bands():
        rows = slice(band.top, band.top + len(band.known))
        codes[rows][band.known] = band.probabilities.argmax(-1)[band.known]
        confidence[rows][band.known] = np.rint(100 * band.probabilities.max(-1))[band.known]
        unfamiliar[rows] = band.unfamiliar
        sums.add(band.top, band.probabilities, np.outer(heights[rows], widths) * band.known)
    return ClassMap(
        classes=tuple(surface.classes),
        height=surface.height,
        width=surface.width,
        cell=surface.cell,
        micrometres_per_pixel=surface.micrometres_per_pixel,
        codes=codes,
        confidence=confidence,
        unfamiliar=unfamiliar,
        shares=sums.shares(),
    )


class _Sums:
    """What adds up to the shares of the classes, over the squares that `class_map` describes."""

    def __init__(self, surface: Surface, window: int) -> None:
        self._side = max(1, round(window / surface.cell))
        self._starts = np.arange(0, surface.columns, self._side)
        squares = (-(-surface.rows // self._side), len(self._starts))
        self._deviations = np.zeros((*squares, len(surface.classes)))
        self._expected = np.zeros(len(surface.classes))
        self._area = 0.0

    def add(self, top: int, probabilities: NDArray[np.float32], areas: NDArray[np.int64]) -> None:
        """Add rows of cells from `top` on: float32 [h, columns, C] and [h, columns], 0 where there is no data."""
        self._area += areas.sum()
        self._expected += np.tensordot(areas, probabilities, 2)
        deviations = areas[..., None] * np.sqrt(probabilities * (1 - probabilities).clip(0))
        rows = np.arange(top, top + len(areas)) // self._side
        np.add.at(self._deviations, rows, np.add.reduceat(deviations, self._starts, axis=1))

    def shares(self) -> tuple[Share, ...]:
        deviation = np.sqrt((self._deviations**2).sum((0, 1)))
        numbers = np.stack([self._expected, deviation], axis=-1) / max(self._area, 1)
        return tuple(Share(*pair) for pair in numbers.tolist())


def cell_edges(side: int, cell: int) -> NDArray[np.int64]:
    """int64 [cells + 1], where the cells along a side of the section begin and the last one ends, in pixels."""
    return np.append(np.arange(0, side, cell), side)
