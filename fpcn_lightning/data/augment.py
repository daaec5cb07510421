"""Which part of a picture is seen: a pure function of (seed, epoch, image).

The papers' recipe: both sides are squashed to `resize`, then a `crop` is cut, at random and perhaps mirrored in
training, from the centre otherwise. Because nothing else enters, a killed run resumes with the same views, the number
of loader workers changes nothing, and what a teacher says about a view can be stored. For pictures that are not to be
squashed, see `fpcn_lightning.data.tiles`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images import Shape
from fpcn_lightning.errors import UserError

Values = TypeVar("Values", bound=np.generic)

VIEW_STREAM = 1  # keeps these draws apart from those of the sampler under the same seed
LUMINANCE = np.array((0.2989, 0.587, 0.114), np.float32)  # of red, green and blue (ITU-R BT.601)


class View(NamedTuple):
    """A square part of a picture: its upper left corner and side in pixels, and what is changed in it."""

    top: int
    left: int
    flipped: bool
    side: int
    brightness: float = 1.0  # factor
    contrast: float = 1.0  # factor about the mean grey of the view


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """How views are drawn.

    Args:
        crop: side of the view in training, pixels.
        evaluation_crop: side of a view in validation and test, likewise; None takes `crop`. Networks that take any
            size gain from seeing more of the picture there (Touvron et al., NeurIPS 2019).
        random_crop: draw the corner in training; False takes the centre there too.
        horizontal_flip: probability of a mirrored view in training, 0..1.
        brightness: the brightness in training is multiplied with a factor from [1 - brightness, 1 + brightness].
        contrast: then the contrast about the view's mean grey with one from [1 - contrast, 1 + contrast].

    Raises:
        UserError: a side that does not fit, or a probability or share that is none.
    """

    crop: int
    random_crop: bool = True
    horizontal_flip: float = 0.5
    evaluation_crop: int | None = None
    brightness: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        self._check_sides()
        if not 0 <= self.horizontal_flip <= 1:
            raise UserError(f"data.horizontal_flip={self.horizontal_flip} is a probability: 0..1.")
        for key, reach in (("brightness", self.brightness), ("contrast", self.contrast)):
            if not 0 <= reach <= 1:
                raise UserError(f"data.{key}={reach} is how far a factor may lie from 1: 0..1.")

    @property
    def evaluation_side(self) -> int:
        """Side in pixels of the views in validation and test, and so of the pictures that a deployed network sees."""
        return self.crop if self.evaluation_crop is None else self.evaluation_crop

    @property
    @abstractmethod
    def squashed(self) -> Shape | None:
        """The shape that all pictures are brought to; None where each keeps its own."""

    @abstractmethod
    def shape(self, height: int, width: int) -> Shape:
        """The shape that views are cut from, of a picture with these sides in pixels."""

    @abstractmethod
    def evaluation_views(self, shape: Shape) -> tuple[View, ...]:
        """The views of a picture of this shape in validation and test, at least one."""

    @abstractmethod
    def _check_sides(self) -> None:
        """Raise UserError where a view cannot be had."""

    def centre(self, shape: Shape, side: int) -> View:
        """The view of this side from the middle."""
        height, width = shape
        return View((height - side) // 2, (width - side) // 2, False, side)

    def draw(self, shape: Shape, seed: int, epoch: int, image: int) -> View:
        """The view in `epoch` under `seed` of the picture with the key `image`, a whole number at least 0."""
        chance = np.random.default_rng([VIEW_STREAM, seed, epoch, image])
        top, left = (int(chance.integers(0, length - self.crop + 1)) for length in shape)
        flipped = bool(chance.random() < self.horizontal_flip)
        factors = (float(chance.uniform(1 - reach, 1 + reach)) for reach in (self.brightness, self.contrast))
        drawn = View(top, left, flipped, self.crop, *factors)
        if self.random_crop:
            return drawn
        centre = self.centre(shape, self.crop)
        return drawn._replace(top=centre.top, left=centre.left)

    def cut(self, picture: NDArray[Values], view: View) -> NDArray[Values]:
        """`view` of `picture` [H, W, ...] as [side, side, ...], without a copy, in the picture's own light."""
        part = picture[view.top : view.top + view.side, view.left : view.left + view.side]
        return part[:, ::-1] if view.flipped else part

    def seen(self, picture: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
        """`view` of `picture` [H, W, 3] as [side, side, 3], its brightness and then its contrast changed."""
        pixels = self.cut(picture, view)
        if view.brightness != 1:
            pixels = _blended(pixels, 0.0, view.brightness)
        if view.contrast != 1:
            grey = (pixels @ LUMINANCE).astype(np.uint8)
            pixels = _blended(pixels, float(grey.mean()), view.contrast)
        return pixels


@dataclass(frozen=True, kw_only=True)
class Squashing(Augmentation):
    """Views of pictures whose sides are both squashed to `resize` pixels; no crop may be larger."""

    resize: int

    @property
    def squashed(self) -> Shape:
        """A square of `resize` pixels."""
        return self.resize, self.resize

    def shape(self, height: int, width: int) -> Shape:  # noqa: ARG002 - one shape for all
        """The square, whatever the picture's sides."""
        return self.squashed

    def evaluation_views(self, shape: Shape) -> tuple[View, ...]:
        """The centre alone."""
        return (self.centre(shape, self.evaluation_side),)

    def _check_sides(self) -> None:
        for key, side in (("crop", self.crop), ("evaluation_crop", self.evaluation_side)):
            if not 0 < side <= self.resize:
                raise UserError(f"data.{key}={side} must lie in 1..data.resize={self.resize}.")


def _blended(pixels: NDArray[np.uint8], other: float, weight: float) -> NDArray[np.uint8]:
    """`weight` parts of `pixels` and 1 - `weight` parts of one grey, cut off at 0 and 255."""
    blend = weight * pixels.astype(np.float32) + (1 - weight) * other
    cut: NDArray[np.uint8] = np.clip(blend, 0, 255).astype(np.uint8)
    return cut
