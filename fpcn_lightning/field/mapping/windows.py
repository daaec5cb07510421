"""Where the network looks: square windows on a regular grid, in pixels of the full-size section."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle

_WIDEST = 1e9  # pixels: no section is that wide


class Box(NamedTuple):
    """Rows `top` to `bottom` and columns `left` to `right`, the latter two not included."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Windows:
    """A grid of windows `stride` apart, as few as cover the section, its middle over the section's middle.

    All centres lie inside the section; windows near its edge hang over.

    Args:
        height: of the section, pixels.
        width: likewise.
        side: of a window.
        stride: between the centres of neighbours.

    Raises:
        ValueError: a number below 1.
    """

    height: int
    width: int
    side: int
    stride: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.side, self.stride) < 1:
            raise ValueError(f"{self}: sides and stride are at least 1")

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
        """Least diameter in pixels of a grain that they resolve: however dense they lie, each blurs what it sees."""
        return max(self.stride, self.side // 2)

    @property
    def first(self) -> tuple[float, float]:
        """Row and column of the first window's centre in pixels, where the middle of the first pixel is 0.5."""
        top, left = self._corner(0, 0)
        return top + self.side / 2, left + self.side / 2

    def box(self, row: int, column: int) -> Box:
        """What a window sees; it may lie outside the section in part."""
        top, left = self._corner(row, column)
        return Box(top, left, top + self.side, left + self.side)

    def part(self, row: int, column: int) -> Box:
        """The part of the section that a window stands for: each pixel belongs to one window."""
        top, left = self._start(self.height, self.rows, row), self._start(self.width, self.columns, column)
        bottom, right = min(top + self.stride, self.height), min(left + self.stride, self.width)
        return Box(max(top, 0), max(left, 0), bottom, right)

    def _start(self, length: int, count: int, index: int) -> int:
        return index * self.stride - (count * self.stride - length) // 2

    def _corner(self, row: int, column: int) -> tuple[int, int]:
        margin = (self.side - self.stride) // 2
        rows, columns = self._start(self.height, self.rows, row), self._start(self.width, self.columns, column)
        return rows - margin, columns - margin


class Side(NamedTuple):
    """How large windows are.

    Attributes:
        pixels: side of a window, of the full-size section.
        why: where that comes from, as the end of a sentence.
        checked: the windows show as many micrometres as the network's views did in training.
    """

    pixels: int
    why: str
    checked: bool


def window_side(bundle: Bundle, micrometres_per_pixel: float | None, pixels: int | None = None) -> Side:
    """The side of a window that shows the network things as large as it saw them in training.

    Args:
        bundle: whose scale and views count.
        micrometres_per_pixel: of the section; None where it is not known.
        pixels: the side to take whatever the scales; None takes that of training, or where either scale is unknown,
            what the views come to on a picture as large as those of training.

    Raises:
        UserError: a side or a scale that is not positive, or a window smaller than a pixel.
    """
    for name, number in (("micrometres_per_pixel", micrometres_per_pixel), ("window side", pixels)):
        if number is not None and not (number > 0 and math.isfinite(number)):
            raise UserError(f"{name}={number} must be above 0.")
    trained, seen = bundle.micrometres_per_pixel, bundle.views.evaluation_side
    if trained is not None and micrometres_per_pixel is not None:
        if trained * seen > _WIDEST * micrometres_per_pixel:
            raise UserError(f"A pixel of {micrometres_per_pixel:g} um is too small for any section: check the scale.")
        side = round(trained * seen / micrometres_per_pixel)
        if pixels in (None, side):
            return Side(_seen(side, micrometres_per_pixel), f"{trained * seen:g} um, as in training", True)
        return Side(pixels or side, f"as asked for, where training had {side} px", False)
    unknown = "the section" if micrometres_per_pixel is None else "the bundle"
    reason = f"the magnification was not checked, since {unknown} has no scale"
    if pixels is not None:
        return Side(pixels, f"as asked for; {reason}", False)
    if isinstance(bundle.views, Tiling):
        return Side(max(1, round(seen / bundle.views.tile_scale)), f"a tile as in training; {reason}", False)
    return Side(seen, f"as many pixels as the network takes; {reason}", False)


def _seen(side: int, micrometres_per_pixel: float) -> int:
    if side < 1:
        raise UserError(
            f"A pixel of {micrometres_per_pixel:g} um is larger than what the network sees at once: check the scale."
        )
    return side
