"""What a prediction depends on: how it changes when parts of the image are deleted, inserted or painted over."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

ImageArray = NDArray[np.uint8]  # [S, S, 3]
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Images uint8 [N, S, S, 3] in, probabilities [N, C] out."""

BLUR = 1 / 20  # standard deviation of the Gaussian as a share of the shorter side


class PerturbationCurve(NamedTuple):
    """The probability of a class as a function of the share of the image that is changed."""

    shares: NDArray[np.float64]  # [K] of the pixels, from 0 to 1
    probabilities: NDArray[np.float32]  # [K]

    @property
    def area(self) -> float:
        """The area under the curve by the trapezoidal rule, 0..1."""
        heights = (self.probabilities[1:].astype(np.float64) + self.probabilities[:-1]) / 2
        return float((heights * np.diff(self.shares)).sum())


class Change(NamedTuple):
    """How a prediction changes."""

    same_class: bool  # whether the class with the highest probability is the same
    drop: float  # of the probability of the label, -1..1; below 0 where it increases
    distance: float  # total variation distance of the probabilities, 0..1


def deletion(
    predict: Predict, picture: ImageArray, heat: NDArray[np.float32], label: int, steps: int = 20
) -> PerturbationCurve:
    """The probability of a class while the pixels are replaced by the mean colour, the hottest first.

    Source: Petsiuk et al., "RISE", BMVC 2018; the smaller the area, the better the heat map. They replace by a
    constant colour; the mean colour is ours.

    Args:
        predict: the network; it is called once, with `steps` + 1 images.
        picture: uint8 [H, W, 3].
        heat: [H, W]. ImageArray of equal heat are in a random order, always the same one.
        label: number of the class.
        steps: >= 1, the number of equal parts that the image is changed in.

    Raises:
        ValueError: heat of another size than the image, or no steps.
    """
    mean = np.broadcast_to(_mean_colour(picture.reshape(-1, 3)), picture.shape)
    return _curve(predict, picture, mean, heat, label, steps)


def insertion(
    predict: Predict, picture: ImageArray, heat: NDArray[np.float32], label: int, steps: int = 20
) -> PerturbationCurve:
    """The probability of a class while the pixels are inserted into the blurred image, the hottest first.

    Source and arguments as of `deletion`; the larger the area, the better the heat map. The blur is proportional to the
    size of the image (a Gaussian of a twentieth of the shorter side), which is ours.

    Raises:
        ValueError: as `deletion`.
    """
    blur = ImageFilter.GaussianBlur(min(picture.shape[:2]) * BLUR)
    return _curve(predict, np.asarray(Image.fromarray(picture).filter(blur)), picture, heat, label, steps)


def painted_over(picture: ImageArray, region: NDArray[np.bool_]) -> ImageArray:
    """The image with a region in the mean colour of the rest, or in its own mean grey where the region is the whole.

    Args:
        picture: uint8 [H, W, 3].
        region: bool [H, W].

    Returns:
        A new image, uint8 [H, W, 3].

    Raises:
        ValueError: a region of another size than the image.
    """
    _check(picture, region)
    painted = picture.copy()
    rest = picture[~region]
    painted[region] = _mean_colour(rest) if len(rest) else np.rint(picture.mean()).astype(np.uint8)
    return painted


def change(predict: Predict, picture: ImageArray, painted: ImageArray, label: int) -> Change:
    """How the prediction for an image, uint8 [S, S, 3], changes when it is painted over.

    The drop is that of the probability of class `label`, the distance half the sum of the absolute differences of all
    probabilities.
    """
    before, after = predict(np.stack([picture, painted])).astype(np.float64)
    same_class = bool(before.argmax() == after.argmax())
    return Change(same_class, float(before[label] - after[label]), float(np.abs(before - after).sum() / 2))


def _curve(
    predict: Predict, start: ImageArray, end: ImageArray, heat: NDArray[np.float32], label: int, steps: int
) -> PerturbationCurve:
    _check(start, heat)
    if steps < 1:
        raise ValueError(f"a curve needs at least one step, not {steps}")
    counts = np.rint(np.linspace(0, heat.size, steps + 1)).astype(np.int64)
    ranks = _ranks(heat)[..., None]
    pictures = np.stack([np.where(ranks < count, end, start) for count in counts])
    return PerturbationCurve(counts / heat.size, predict(pictures)[:, label])


def _ranks(heat: NDArray[np.float32]) -> NDArray[np.int64]:
    """The rank [H, W] of each pixel in the order from hot to cold; without the shuffle, ties would be in row order."""
    shuffled = np.random.default_rng(0).permutation(heat.size)
    order = shuffled[np.argsort(-heat.ravel()[shuffled], kind="stable")]
    ranks = np.empty(heat.size, np.int64)
    ranks[order] = np.arange(heat.size)
    return ranks.reshape(heat.shape)


def _mean_colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mean colour [3] of pixels [N, 3]."""
    colour: NDArray[np.uint8] = np.rint(pixels.mean(axis=0)).astype(np.uint8)
    return colour


def _check(picture: ImageArray, places: NDArray[np.float32] | NDArray[np.bool_]) -> None:
    if picture.ndim != 3 or picture.shape[:2] != places.shape:
        raise ValueError(f"a map {places.shape} must be as high and wide as its picture {picture.shape}")
