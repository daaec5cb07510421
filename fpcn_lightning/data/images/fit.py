"""How an image of any proportions becomes a square of a fixed size."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from PIL import Image

from fpcn_lightning.data.images.shapes import Shape

Fill = tuple[int, int, int]
"""A colour, RGB, 0 to 255."""

FILL: Fill = (124, 116, 104)  # the mean of ImageNet, which is about zero after the normalisation of most networks


class Area(NamedTuple):
    """A rectangle in an image, in shares of the image's height and width; it may extend beyond the image."""

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0

    @property
    def inside(self) -> "Area":
        """The part of it that is in the image."""
        top, left = max(self.top, 0.0), max(self.left, 0.0)
        bottom, right = min(self.top + self.height, 1.0), min(self.left + self.width, 1.0)
        return Area(top, left, bottom - top, right - left)

    def relative_to(self, other: "Area") -> "Area":
        """This rectangle in shares of the height and width of another one."""
        return Area(
            (self.top - other.top) / other.height,
            (self.left - other.left) / other.width,
            self.height / other.height,
            self.width / other.width,
        )


@dataclass(frozen=True)
class SquareFit:
    """Makes a square of `side` pixels of an image.

    Args:
        side: height and width of the square, pixels.
        how: `squash` resizes both sides to `side`, which changes the proportions; `crop` resizes the shorter side to
            `side` and keeps the middle of the longer one; `letterbox` resizes the longer side to `side` and fills the
            rest, half of it before and half of it after the image.
        fill: colour of that rest.
    """

    side: int
    how: Literal["squash", "crop", "letterbox"] = "squash"
    fill: Fill = FILL

    @property
    def key(self) -> object:
        """Identifies the squares of one image among those of all fits; `side` alone where the image is squashed."""
        if self.how == "squash":
            return self.side
        return (self.how, self.side, *(self.fill if self.how == "letterbox" else ()))

    @property
    def sentence(self) -> str:
        """How an image is prepared, as the beginning of a sentence."""
        square = f"{self.side} x {self.side} pixels"
        if self.how == "squash":
            return f"resized to {square}"
        if self.how == "crop":
            return f"the shorter side resized to {self.side} pixels, the middle square of {square} kept"
        return f"the longer side resized to {self.side} pixels, filled up to {square} with the colour {self.fill}"

    def area(self, height: int, width: int) -> Area:
        """What the square shows of an image of this height and width in pixels; a letterbox extends beyond it."""
        if self.how == "squash":
            return Area()
        if self.how == "crop":
            tall, wide = (min(height, width) / length for length in (height, width))
            return Area((1 - tall) / 2, (1 - wide) / 2, tall, wide)
        (rows, columns), (top, left) = self._content(height, width)
        return Area(-top / rows, -left / columns, self.side / rows, self.side / columns)

    def applied(self, image: Image.Image, height: int, width: int) -> Image.Image:
        """The square of an image, which may already have been reduced from this height and width in pixels."""
        size = self.side, self.side
        if self.how == "letterbox":
            (rows, columns), (top, left) = self._content(height, width)
            square = Image.new(image.mode, size, self.fill)
            square.paste(image.resize((columns, rows), Image.Resampling.BILINEAR), (left, top))
            return square
        return image.resize(size, Image.Resampling.BILINEAR, _box(self.area(height, width), image))

    def _content(self, height: int, width: int) -> tuple[Shape, tuple[int, int]]:
        """Of a letterbox: height and width of the image in it, and row and column where it begins, in pixels."""
        rows, columns = (max(1, round(self.side * length / max(height, width))) for length in (height, width))
        return (rows, columns), (round((self.side - rows) / 2), round((self.side - columns) / 2))


def in_proportion(resized: Image.Image, area: Area, height: int, width: int, side: int) -> Image.Image:
    """What a resized image shows of an image of this height and width in pixels, in the proportions of that.

    Args:
        resized: of any proportions.
        area: the part of the image that it shows; what extends beyond the image is cut off.
        height, width: of the image.
        side: length in pixels of the longer side of the result.
    """
    shown = area.inside
    rows, columns = shown.height * height, shown.width * width
    size = (max(1, round(columns * side / max(rows, columns))), max(1, round(rows * side / max(rows, columns))))
    return resized.resize(size, Image.Resampling.BILINEAR, _box(shown.relative_to(area), resized))


def _box(area: Area, image: Image.Image) -> tuple[float, float, float, float]:
    """A rectangle in an image as left, top, right and bottom in its pixels."""
    left, top = area.left * image.width, area.top * image.height
    right, bottom = (area.left + area.width) * image.width, (area.top + area.height) * image.height
    return left, top, min(right, image.width), min(bottom, image.height)  # a rounding error would be outside
