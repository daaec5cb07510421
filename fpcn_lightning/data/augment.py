"""Which part of an image a network sees, and how it is changed: a pure function of (seed, epoch, image).

The papers' recipe: an image is squashed into a square of `resize` pixels, then a `crop` is cut from that, at random and
perhaps mirrored in training, from the centre otherwise; `fpcn_lightning.data.squares` has squares that keep the
proportions. Because nothing else enters, a killed run resumes with the same views, the number of loader workers changes
nothing, and a teacher's logits for a view can be stored. For images that are too large for one square, see
`fpcn_lightning.data.tiles`.

Further options, off in the papers' recipe, vary the scale of the crop and turn it by quarter turns; `mirrored_views`
adds the mirrored copy of each view in validation and test, whose predictions are averaged.

What changes the pixels of a view in training is a list of functions (`Augment`): brightness, contrast, saturation, and
then those of the config key `data.augmentations`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import Area, Shape, SquareFit
from fpcn_lightning.errors import UserError

Values = TypeVar("Values", bound=np.generic)

VIEW_STREAM = 1  # keeps these draws apart from those of the sampler under the same seed
LUMINANCE = np.array((0.2989, 0.587, 0.114), np.float32)  # of red, green and blue (ITU-R BT.601)

Augment = Callable[[NDArray[np.uint8], np.random.Generator], NDArray[np.uint8]]
"""Changes a view in training: pixels uint8 [S, S, 3], RGB, and a generator in, pixels of the same shape and type out.

All its randomness must come from the generator, so that a view depends on its key alone. It may change the array in
place.
"""


class View(NamedTuple):
    """A square part of an image: its upper left corner and size in pixels, and how it is turned and augmented."""

    top: int
    left: int
    flipped: bool
    side: int
    key: tuple[int, int, int] | None = None  # seed, epoch and image of a view in training, which is augmented
    turns: int = 0  # quarter turns counterclockwise, 0..3, after mirroring


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """How views are drawn.

    Args:
        crop: size of the view in training, pixels.
        evaluation_crop: size of a view in validation and test, likewise; None takes `crop`. Networks that take any
            size gain from seeing more of the image there (Touvron et al., NeurIPS 2019).
        random_crop: draw the corner in training; False takes the centre there too.
        horizontal_flip: probability of a mirrored view in training, 0..1.
        brightness: the brightness in training is multiplied by a factor from [1 - brightness, 1 + brightness].
        contrast: then the contrast about the view's mean grey by one from [1 - contrast, 1 + contrast].
        saturation: then the difference of each pixel from its grey by one from [1 - saturation, 1 + saturation].
        crop_scale: the part of the image that is cut in training has `crop` times a factor from this range as its size,
            drawn uniformly in its logarithm and limited by the image, and is resized to `crop`. A range around 1 keeps
            the mean scale of textures equal to that of validation and test.
        quarter_turns: turn each view in training by 0 to 3 quarter turns: for objects without an upper side, such as
            thin sections.
        mirrored_views: add the mirrored copy of each view in validation and test; predictions are averaged.
        further: functions that change a view in training after these, in this order.

    Raises:
        UserError: a size that does not fit, a probability or range outside 0..1, or a scale that is not positive.
    """

    crop: int
    random_crop: bool = True
    horizontal_flip: float = 0.5
    evaluation_crop: int | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    crop_scale: tuple[float, float] = (1.0, 1.0)
    quarter_turns: bool = False
    mirrored_views: bool = False
    further: tuple[Augment, ...] = ()

    def __post_init__(self) -> None:
        self._check_sizes()
        low, high = self.crop_scale
        if not 0 < low <= high < math.inf:
            raise UserError(f"data.crop_scale={list(self.crop_scale)} must be two factors above 0, the smaller first.")
        if not 0 <= self.horizontal_flip <= 1:
            raise UserError(f"data.horizontal_flip={self.horizontal_flip} is not a probability: give 0..1.")
        for key in ("brightness", "contrast", "saturation"):
            reach: float = getattr(self, key)
            if not 0 <= reach <= 1:
                raise UserError(f"data.{key}={reach} must be 0..1: the largest difference of the factor from 1.")

    @property
    def evaluation_size(self) -> int:
        """Size in pixels of the views in validation and test, and so of the images that a deployed network takes."""
        return self.crop if self.evaluation_crop is None else self.evaluation_crop

    @property
    def square(self) -> SquareFit | None:
        """How all images become squares of one size; None where each keeps its own shape."""
        return None

    @abstractmethod
    def shape(self, height: int, width: int) -> Shape:
        """The shape that views are cut from, of an image of this height and width in pixels."""

    def area(self, height: int, width: int) -> Area:  # noqa: ARG002 - all of it, unless a square shows a part
        """The part of an image of this height and width in pixels that views are cut from."""
        return Area()

    def evaluation_views(self, shape: Shape) -> tuple[View, ...]:
        """The views of an image of this shape in validation and test, at least one."""
        views = self._evaluation_views(shape)
        return (*views, *(view._replace(flipped=True) for view in views)) if self.mirrored_views else views

    @abstractmethod
    def _evaluation_views(self, shape: Shape) -> tuple[View, ...]:
        """The views before their mirrored copies are added."""

    @abstractmethod
    def _check_sizes(self) -> None:
        """Raise UserError where a view cannot be cut."""

    @property
    def augments(self) -> tuple[Augment, ...]:
        """What changes the pixels of a view in training, in this order."""
        return (
            partial(change_brightness, reach=self.brightness),
            partial(change_contrast, reach=self.contrast),
            *([partial(change_saturation, reach=self.saturation)] if self.saturation else []),
            *self.further,
        )

    def centre(self, shape: Shape, side: int) -> View:
        """The view of this size from the middle."""
        height, width = shape
        return View((height - side) // 2, (width - side) // 2, False, side)

    def draw(self, shape: Shape, seed: int, epoch: int, image: int) -> View:
        """The view in `epoch` under `seed` of the image with the key `image`, an integer of at least 0."""
        key = (seed, epoch, image)
        return self._drawn(_generator(key), shape, key)

    def cut(self, picture: NDArray[Values], view: View) -> NDArray[Values]:
        """`view` of `picture` [H, W, ...] as [side, side, ...], without a copy, not augmented."""
        part = picture[view.top : view.top + view.side, view.left : view.left + view.side]
        part = part[:, ::-1] if view.flipped else part
        return np.rot90(part, view.turns) if view.turns else part

    def seen(self, picture: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
        """`view` of `picture` uint8 [H, W, 3] as [side, side, 3]; one of training as [crop, crop, 3], augmented."""
        pixels = self.cut(picture, view)
        if not self.changes(view):
            return pixels
        # A function of the config may change what it is given, which is a part of the cache.
        return self.changed(pixels.copy() if self.further else pixels, view, (picture.shape[0], picture.shape[1]))

    def changes(self, view: View) -> bool:
        """Whether more is done to a view than to cut it out."""
        return view.key is not None and (self._augmented or view.side != self.crop)

    def changed(self, pixels: NDArray[np.uint8], view: View, shape: Shape) -> NDArray[np.uint8]:
        """The pixels of a view of training, cut from an image of this shape, resized and augmented.

        Raises:
            UserError: an augmentation of the config returns something else than pixels of the same shape and type.
        """
        assert view.key is not None
        if view.side != self.crop:
            pixels = np.array(Image.fromarray(pixels).resize((self.crop, self.crop), Image.Resampling.BILINEAR))
        if self._augmented:
            random = _generator(view.key)
            self._drawn(random, shape, view.key)  # the first draws are those of the view
            for augment in self.augments:
                pixels = _checked(augment, augment(pixels, random), self.crop)
        return pixels

    @property
    def _augmented(self) -> bool:
        return bool(self.brightness or self.contrast or self.saturation or self.further)

    def _drawn(self, random: np.random.Generator, shape: Shape, key: tuple[int, int, int]) -> View:
        """The view of the next draws: its size and turns, if they vary, and three for corner and mirroring."""
        side, turns = self.crop, 0
        if self.crop_scale != (1.0, 1.0):
            low, high = (math.log(factor) for factor in self.crop_scale)
            side = max(1, min(round(self.crop * math.exp(random.uniform(low, high))), *shape))
        if self.quarter_turns:
            turns = int(random.integers(0, 4))
        top, left = (int(random.integers(0, length - side + 1)) for length in shape)
        flipped = bool(random.random() < self.horizontal_flip)
        if not self.random_crop:
            top, left, *_ = self.centre(shape, side)
        return View(top, left, flipped, side, key, turns)


@dataclass(frozen=True, kw_only=True)
class Square(Augmentation):
    """Views of images that become squares of `resize` pixels first; no crop may be larger.

    In training a crop is drawn from anywhere in the square, so that it never shows more of an image than the square.
    """

    resize: int

    @property
    @abstractmethod
    def square(self) -> SquareFit:
        """How an image becomes the square."""

    def shape(self, height: int, width: int) -> Shape:  # noqa: ARG002 - one shape for all
        """That of the square, for every image."""
        return self.resize, self.resize

    def area(self, height: int, width: int) -> Area:
        """What the square shows of an image; it may extend beyond the image."""
        return self.square.area(height, width)

    def _evaluation_views(self, shape: Shape) -> tuple[View, ...]:
        return (self.centre(shape, self.evaluation_size),)

    def _check_sizes(self) -> None:
        for key, side in (("crop", self.crop), ("evaluation_crop", self.evaluation_size)):
            if not 0 < side <= self.resize:
                raise UserError(f"data.{key}={side} must be in 1..data.resize={self.resize}.")


@dataclass(frozen=True, kw_only=True)
class Squashing(Square):
    """Both sides are resized to `resize`, as in the papers: the proportions change."""

    @property
    def square(self) -> SquareFit:
        """The whole image."""
        return SquareFit(self.resize)


def change_brightness(pixels: NDArray[np.uint8], random: np.random.Generator, *, reach: float) -> NDArray[np.uint8]:
    """Pixels [S, S, 3] times a factor from [1 - reach, 1 + reach]."""
    factor = float(random.uniform(1 - reach, 1 + reach))
    return pixels if factor == 1 else _blended(pixels, 0.0, factor)


def change_contrast(pixels: NDArray[np.uint8], random: np.random.Generator, *, reach: float) -> NDArray[np.uint8]:
    """Pixels [S, S, 3] whose difference from their mean grey is multiplied by a factor from [1 - reach, 1 + reach]."""
    factor = float(random.uniform(1 - reach, 1 + reach))
    if factor == 1:
        return pixels
    grey = (pixels @ LUMINANCE).astype(np.uint8)
    return _blended(pixels, float(grey.mean()), factor)


def change_saturation(pixels: NDArray[np.uint8], random: np.random.Generator, *, reach: float) -> NDArray[np.uint8]:
    """Pixels [S, S, 3] whose difference from their own grey is multiplied by a factor from [1 - reach, 1 + reach]."""
    factor = float(random.uniform(1 - reach, 1 + reach))
    return pixels if factor == 1 else _blended(pixels, (pixels @ LUMINANCE)[..., None], factor)


def _generator(key: tuple[int, int, int]) -> np.random.Generator:
    """What all draws of a view come from: its place, and then what its augmentations draw."""
    return np.random.default_rng([VIEW_STREAM, *key])


def _blended(pixels: NDArray[np.uint8], other: float | NDArray[np.float32], weight: float) -> NDArray[np.uint8]:
    """`weight` parts of `pixels` [S, S, 3] and 1 - `weight` parts of a grey, or of one for each pixel [S, S, 1],
    clipped to 0..255.
    """
    if not isinstance(other, float):
        return _mixed(pixels, other, weight)
    table = _mixed(np.arange(256, dtype=np.uint8), other, weight)  # each value once, not each pixel
    mapped = bytearray(np.ascontiguousarray(pixels)).translate(table.tobytes())
    return np.frombuffer(mapped, np.uint8).reshape(pixels.shape)


def _mixed(pixels: NDArray[np.uint8], other: float | NDArray[np.float32], weight: float) -> NDArray[np.uint8]:
    clipped: NDArray[np.float32] = (weight * pixels.astype(np.float32) + (1 - weight) * other).clip(0, 255)
    return clipped.astype(np.uint8)


def _checked(augment: Augment, pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """What an augmentation returned for a view of this size, if it is one."""
    shape = (side, side, 3)
    if isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape == shape:
        return pixels
    function = augment.func if isinstance(augment, partial) else augment
    what = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
    raise UserError(
        f"data.augmentations: {getattr(function, '__qualname__', function)} returns {what}: it must return pixels "
        f"uint8 {list(shape)}, as it is given."
    )
