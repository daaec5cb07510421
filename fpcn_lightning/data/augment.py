"""Which part of a picture is seen: a pure function of (seed, epoch, image).

The papers' recipe: both sides are squashed to `resize`, then a `crop` is cut, at random and perhaps mirrored in
training, from the centre otherwise. Because nothing else enters, a killed run resumes with the same views, the number
of loader workers changes nothing, and what a teacher says about a view can be stored.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError

Values = TypeVar("Values", bound=np.generic)

VIEW_STREAM = 1  # keeps these draws apart from those of the sampler under the same seed


class View(NamedTuple):
    """A crop of the squashed picture: its upper left corner in pixels, whether it is mirrored, its side in pixels."""

    top: int
    left: int
    flipped: bool
    side: int


@dataclass(frozen=True)
class Augmentation:
    """How views are drawn.

    Args:
        resize: side of the squashed picture, pixels.
        crop: side of the view in training, pixels, at most `resize`.
        evaluation_crop: side of the view in validation and test, likewise; None takes `crop`. Networks that take any
            size gain from seeing more of the picture there (Touvron et al., NeurIPS 2019).
        random_crop: draw the corner in training; False takes the centre there too.
        horizontal_flip: probability of a mirrored view in training, 0..1.

    Raises:
        UserError: the crop is larger than the picture, or the probability is none.
    """

    resize: int
    crop: int
    random_crop: bool = True
    horizontal_flip: float = 0.5
    evaluation_crop: int | None = None

    def __post_init__(self) -> None:
        for key, side in (("crop", self.crop), ("evaluation_crop", self.evaluation_side)):
            if not 0 < side <= self.resize:
                raise UserError(f"data.{key}={side} must lie in 1..data.resize={self.resize}.")
        if not 0 <= self.horizontal_flip <= 1:
            raise UserError(f"data.horizontal_flip={self.horizontal_flip} is a probability: 0..1.")

    @property
    def evaluation_side(self) -> int:
        """Side in pixels of the view in validation and test, and so of the pictures that a deployed network sees."""
        return self.crop if self.evaluation_crop is None else self.evaluation_crop

    def centre(self, side: int) -> View:
        """The view of this side from the middle; with `evaluation_side` that of validation and test."""
        margin = (self.resize - side) // 2
        return View(margin, margin, False, side)

    def draw(self, seed: int, epoch: int, image: int) -> View:
        """The view in `epoch` under `seed` of the picture with the key `image`, a whole number at least 0."""
        chance = np.random.default_rng([VIEW_STREAM, seed, epoch, image])
        top, left = (int(corner) for corner in chance.integers(0, self.resize - self.crop + 1, size=2))
        flipped = bool(chance.random() < self.horizontal_flip)
        drawn = View(top, left, flipped, self.crop)
        return drawn if self.random_crop else self.centre(self.crop)._replace(flipped=flipped)

    def cut(self, picture: NDArray[Values], view: View) -> NDArray[Values]:
        """`view` of `picture` [resize, resize, ...] as [side, side, ...], without a copy."""
        part = picture[view.top : view.top + view.side, view.left : view.left + view.side]
        return part[:, ::-1] if view.flipped else part
