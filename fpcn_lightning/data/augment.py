"""Which part of a picture is seen: a pure function of (seed, epoch, image).

The papers' recipe: both sides are squashed to `resize`, then a `crop` is cut, at random and perhaps mirrored in
training, from the centre otherwise. Because nothing else enters, a killed run resumes with the same views, the number
of loader workers changes nothing, and what a teacher says about a view can be stored.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError

VIEW_STREAM = 1  # keeps these draws apart from those of the sampler under the same seed


class View(NamedTuple):
    """A crop of the squashed picture: its upper left corner in pixels, and whether it is mirrored."""

    top: int
    left: int
    flipped: bool


@dataclass(frozen=True)
class Augmentation:
    """How views are drawn.

    Args:
        resize: side of the squashed picture, pixels.
        crop: side of the view, pixels, at most `resize`.
        random_crop: draw the corner in training; False takes the centre there too.
        horizontal_flip: probability of a mirrored view in training, 0..1.

    Raises:
        UserError: the crop is larger than the picture, or the probability is none.
    """

    resize: int
    crop: int
    random_crop: bool = True
    horizontal_flip: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.crop <= self.resize:
            raise UserError(f"data.crop={self.crop} must lie in 1..data.resize={self.resize}.")
        if not 0 <= self.horizontal_flip <= 1:
            raise UserError(f"data.horizontal_flip={self.horizontal_flip} is a probability: 0..1.")

    def centre(self) -> View:
        """The view of validation and test."""
        margin = (self.resize - self.crop) // 2
        return View(margin, margin, flipped=False)

    def draw(self, seed: int, epoch: int, image: int) -> View:
        """The view in `epoch` under `seed` of the picture with the key `image`, a whole number at least 0."""
        chance = np.random.default_rng([VIEW_STREAM, seed, epoch, image])
        top, left = (int(corner) for corner in chance.integers(0, self.resize - self.crop + 1, size=2))
        flipped = bool(chance.random() < self.horizontal_flip)
        return View(top, left, flipped) if self.random_crop else self.centre()._replace(flipped=flipped)

    def cut(self, picture: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
        """`view` of `picture` [resize, resize, 3] as [crop, crop, 3], without a copy."""
        part = picture[view.top : view.top + self.crop, view.left : view.left + self.crop]
        return part[:, ::-1] if view.flipped else part
