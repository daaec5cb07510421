"""Views of images that become squares and keep their proportions: `data.fit=crop` and `data.fit=letterbox`."""

from dataclasses import dataclass

from fpcn_lightning.data.augment import Square
from fpcn_lightning.data.images import FILL, Fill, SquareFit
from fpcn_lightning.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Cropping(Square):
    """The shorter side is resized to `resize`, and the middle of the longer one is kept.

    What is cut off is seen neither in training nor otherwise: the crop of training is drawn from the square.
    """

    @property
    def square(self) -> SquareFit:
        """The middle of the image."""
        return SquareFit(self.resize, "crop")


@dataclass(frozen=True, kw_only=True)
class Letterboxing(Square):
    """The longer side is resized to `resize`, and the rest of the square is filled with one colour.

    A crop may show a part of that colour, in training, where it is drawn from the square, and otherwise.

    Args:
        fill: the colour, RGB, 0 to 255.

    Raises:
        UserError: `fill` is no colour, or what `Augmentation` raises.
    """

    fill: Fill = FILL

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.fill) != 3 or not all(0 <= value <= 255 for value in self.fill):
            raise UserError(f"data.fill={list(self.fill)} must be a colour, three numbers in 0..255.")

    @property
    def square(self) -> SquareFit:
        """The whole image, with the colour on both sides of it."""
        return SquareFit(self.resize, "letterbox", self.fill)
