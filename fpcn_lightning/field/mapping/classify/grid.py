"""Where the network looks and what the maps are made of: regular grids of windows and of cells on the section."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle

MAX_CELLS = 16_000_000
CELLS_PER_STRIDE = 8

_MAX_SIZE = 1e9  # pixels: no section is that wide


class Box(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the latter two not included."""

    top: int
    left: int
    bottom: int
    right: int


class WindowChunk(NamedTuple):
    """Neighbouring windows of a row."""

    row: int
    columns: range


@dataclass(frozen=True)
class WindowGrid:
    """Square windows at a distance of `stride`, as few as cover the section, centred on the section.

    The centres of all windows are inside the section; windows at its edge extend beyond it.

    Args:
        height: of the section, pixels.
        width: likewise.
        size: of a window, pixels.
        stride: distance between the centres of neighbours, pixels.

    Raises:
        ValueError: a number below 1.
    """

    height: int
    width: int
    size: int
    stride: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.size, self.stride) < 1:
            raise ValueError(f"{self}: all numbers must be at least 1")

    @property
    def rows(self) -> int:
        """Windows from top to bottom."""
        return math.ceil(self.height / self.stride)

    @property
    def columns(self) -> int:
        """Windows from left to right."""
        return math.ceil(self.width / self.stride)

    @property
    def resolution(self) -> int:
        """Smallest diameter in pixels of a grain that is resolved; a window blurs what it sees, whatever the stride."""
        return max(self.stride, self.size // 2)

    @property
    def first_centre(self) -> tuple[float, float]:
        """Row and column of the first window's centre in pixels; the centre of the first pixel is 0.5."""
        top, left = self._corner(0, 0)
        return top + self.size / 2, left + self.size / 2

    def box(self, row: int, column: int) -> Box:
        """What a window sees; it may be partly outside the section."""
        top, left = self._corner(row, column)
        return Box(top, left, top + self.size, left + self.size)

    def part(self, row: int, column: int) -> Box:
        """The part of the section that a window stands for: each pixel belongs to exactly one window."""
        top, left = self._start(self.height, self.rows, row), self._start(self.width, self.columns, column)
        bottom, right = min(top + self.stride, self.height), min(left + self.stride, self.width)
        return Box(max(top, 0), max(left, 0), bottom, right)

    def chunks(self, row: int, size: int) -> Iterator[WindowChunk]:
        """A row of windows in chunks of at most `size`."""
        return (
            WindowChunk(row, range(first, min(first + size, self.columns))) for first in range(0, self.columns, size)
        )

    def _start(self, length: int, count: int, index: int) -> int:
        return index * self.stride - (count * self.stride - length) // 2

    def _corner(self, row: int, column: int) -> tuple[int, int]:
        margin = (self.size - self.stride) // 2
        rows, columns = self._start(self.height, self.rows, row), self._start(self.width, self.columns, column)
        return rows - margin, columns - margin


class WindowSize(NamedTuple):
    """The size of windows.

    Attributes:
        pixels: of the full-size section along an edge.
        reason: why this size, as the end of a sentence.
        checked: a window shows as many micrometres as the network's views did in training.
    """

    pixels: int
    reason: str
    checked: bool


def window_size(bundle: Bundle, micrometres_per_pixel: float | None, pixels: int | None = None) -> WindowSize:
    """The size of a window in which things are as large for the network as they were in training.

    Args:
        bundle: its scale and views are used.
        micrometres_per_pixel: of the section; None if unknown.
        pixels: the size, whatever the scales are; None computes it from the scales. If either scale is unknown, it is
            the size of the views on a picture that is as large as those of training.

    Raises:
        UserError: a size or a scale that is not positive, or a window smaller than a pixel.
    """
    for name, number in (("micrometres_per_pixel", micrometres_per_pixel), ("window size", pixels)):
        if number is not None and not (number > 0 and math.isfinite(number)):
            raise UserError(f"{name}={number} must be above 0.")
    trained, view = bundle.micrometres_per_pixel, bundle.views.evaluation_size
    if trained is not None and micrometres_per_pixel is not None:
        if trained * view > _MAX_SIZE * micrometres_per_pixel:
            raise UserError(f"A pixel of {micrometres_per_pixel:g} um is too small for any section: check the scale.")
        size = round(trained * view / micrometres_per_pixel)
        if pixels in (None, size):
            return WindowSize(
                _at_least_one(size, micrometres_per_pixel), f"{trained * view:g} um, as in training", True
            )
        return WindowSize(pixels or size, f"as requested, but training had {size} px", False)
    unknown = "the section" if micrometres_per_pixel is None else "the bundle"
    reason = f"the magnification was not checked, since {unknown} has no scale"
    if pixels is not None:
        return WindowSize(pixels, f"as requested; {reason}", False)
    if isinstance(bundle.views, Tiling):
        return WindowSize(max(1, round(view / bundle.views.tile_scale)), f"a tile as in training; {reason}", False)
    return WindowSize(view, f"as many pixels as the network's input; {reason}", False)


def _at_least_one(size: int, micrometres_per_pixel: float) -> int:
    if size < 1:
        raise UserError(
            f"A pixel of {micrometres_per_pixel:g} um is larger than what the network sees at once: check the scale."
        )
    return size


def cell_size(height: int, width: int, stride: int, max_cells: int = MAX_CELLS) -> int:
    """Size of a cell in pixels of the section: an eighth of the stride, larger if that makes too many cells."""
    size = max(1, stride // CELLS_PER_STRIDE, math.isqrt(height * width // max_cells))
    while math.ceil(height / size) * math.ceil(width / size) > max_cells:
        size += 1
    return size


@dataclass(frozen=True)
class CellGrid:
    """The pixels of the maps: square cells, few enough to fit into memory for sections of any size.

    The first cell is at the section's upper left corner; those at the other edges may extend beyond it.

    Args:
        height: of the section, pixels.
        width: likewise.
        size: of a cell, pixels.
    """

    height: int
    width: int
    size: int

    @property
    def rows(self) -> int:
        """Cells from top to bottom."""
        return math.ceil(self.height / self.size)

    @property
    def columns(self) -> int:
        """Cells from left to right."""
        return math.ceil(self.width / self.size)

    def centred_in(self, start: int, stop: int, length: int) -> range:
        """The cells along an edge of `length` pixels whose centres are in start..stop.

        The parts of the windows reach from edge to edge, so a cell that extends beyond the section belongs to the last
        part.
        """
        return range(self._first_from(start, length), self._first_from(stop, length))

    def _first_from(self, place: int, length: int) -> int:
        count = math.ceil(length / self.size)
        return count if place >= length else min(count, math.ceil(place / self.size - 0.5))
