"""What an answer hangs on: pictures are deleted, inserted or painted over, and the network is asked again."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Picture = NDArray[np.uint8]  # [S, S, 3]
Ask = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Pictures uint8 [N, S, S, 3] in, probabilities [N, C] out."""

BLUR = 1 / 20  # of the shorter side, standard deviation of the Gaussian


class Curve(NamedTuple):
    """How probable a class is, the more of the picture is changed."""

    shares: NDArray[np.float64]  # [K] of the pixels, from 0 to 1
    probabilities: NDArray[np.float32]  # [K]

    @property
    def area(self) -> float:
        """Under the curve, by trapezia, 0..1."""
        heights = (self.probabilities[1:].astype(np.float64) + self.probabilities[:-1]) / 2
        return float((heights * np.diff(self.shares)).sum())


class Change(NamedTuple):
    """What became of an answer."""

    kept: bool  # the class with the highest probability is the same
    drop: float  # of the probability of the label, -1..1; below 0 where it rose
    distance: float  # total variation between both answers, 0..1


def deletion(ask: Ask, picture: Picture, heat: NDArray[np.float32], label: int, steps: int = 20) -> Curve:
    """The probability of a class while the pixels give way to the mean colour, the hottest first.

    Source: Petsiuk et al., "RISE", BMVC 2018; the smaller the area, the better the heat map. The mean colour, where
    they have a constant one, is ours.

    Args:
        ask: what the network says of pictures; it is asked once, about `steps` + 1 of them.
        picture: uint8 [H, W, 3].
        heat: [H, W]. Pixels of the same heat come in an order that is random, but always the same.
        label: number of the class.
        steps: >= 1, how many pieces of equal size the picture is changed in.

    Raises:
        ValueError: heat of another size than the picture, or no steps.
    """
    return _curve(
        ask, picture, np.broadcast_to(_mean_colour(picture.reshape(-1, 3)), picture.shape), heat, label, steps
    )


def insertion(ask: Ask, picture: Picture, heat: NDArray[np.float32], label: int, steps: int = 20) -> Curve:
    """The probability of a class while the pixels come back into the blurred picture, the hottest first.

    Source and arguments as of `deletion`; the larger the area, the better the heat map. The blur (a Gaussian of a
    twentieth of the shorter side) grows with the picture, which is ours.

    Raises:
        ValueError: as `deletion`.
    """
    blur = ImageFilter.GaussianBlur(min(picture.shape[:2]) * BLUR)
    return _curve(ask, np.asarray(Image.fromarray(picture).filter(blur)), picture, heat, label, steps)


def painted_over(picture: Picture, region: NDArray[np.bool_]) -> Picture:
    """The picture with a region in the mean colour of the rest; in the grey of its own mean where nothing is left.

    Args:
        picture: uint8 [H, W, 3].
        region: bool [H, W].

    Returns:
        A new picture, uint8 [H, W, 3].

    Raises:
        ValueError: a region of another size than the picture.
    """
    _check(picture, region)
    painted = picture.copy()
    rest = picture[~region]
    painted[region] = _mean_colour(rest) if len(rest) else np.rint(picture.mean()).astype(np.uint8)
    return painted


def change(ask: Ask, picture: Picture, painted: Picture, label: int) -> Change:
    """What becomes of the answer to a picture, uint8 [S, S, 3], once it is painted over, and of class `label`'s share.

    The distance is half the sum of the absolute differences of the probabilities.
    """
    before, after = ask(np.stack([picture, painted])).astype(np.float64)
    kept = bool(before.argmax() == after.argmax())
    return Change(kept, float(before[label] - after[label]), float(np.abs(before - after).sum() / 2))


def _curve(ask: Ask, start: Picture, end: Picture, heat: NDArray[np.float32], label: int, steps: int) -> Curve:
    _check(start, heat)
    if steps < 1:
        raise ValueError(f"a curve needs at least one step, not {steps}")
    counts = np.rint(np.linspace(0, heat.size, steps + 1)).astype(np.int64)
    ranks = _ranks(heat)[..., None]
    pictures = np.stack([np.where(ranks < count, end, start) for count in counts])
    return Curve(counts / heat.size, ask(pictures)[:, label])


def _ranks(heat: NDArray[np.float32]) -> NDArray[np.int64]:
    """The place [H, W] of each pixel in the order from hot to cold; without the shuffle, ties would go row by row."""
    shuffled = np.random.default_rng(0).permutation(heat.size)
    order = shuffled[np.argsort(-heat.ravel()[shuffled], kind="stable")]
    ranks = np.empty(heat.size, np.int64)
    ranks[order] = np.arange(heat.size)
    return ranks.reshape(heat.shape)


def _mean_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean colour [3] of pixels [N, 3]."""
    colour: NDArray[np.uint8] = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    return colour


def _check(picture: Picture, places: NDArray[np.float32] | NDArray[np.bool_]) -> None:
    if picture.ndim != 3 or picture.shape[:2] != places.shape:
        raise ValueError(f"a map {places.shape} must be as high and wide as its picture {picture.shape}")
