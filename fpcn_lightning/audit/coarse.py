"""Where, and how turned, one image may lie in another: normalised cross-correlation at low resolution.

The smaller image is a template. Each of its 8 turns and mirrored turns is resized by a grid of factors, height and
width independently, and correlated with the other image at every offset by the fast Fourier transform (Lewis, Vision
Interface 1995). Both are filtered first, so that the brightness of large areas does not count.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

SIDE = 32  # pixels, of the images that are correlated
LENGTHS = (32, 28, 25, 22, 19)  # pixels, of the template along each axis: 100 to 59 %
_BLUR = 4.0  # pixels: coarser structures are removed
_LEAST_ENERGY = 0.05  # share of the energy per pixel of the whole image below which a window counts as plain


_SIZES = [(height, width) for height in LENGTHS for width in LENGTHS]


class Placements(NamedTuple):
    """Hypotheses about where P templates lie in their scenes, in coordinates from -1 to 1 of the scene.

    Attributes:
        turns: long [P], 0 to 7, see `turned`.
        scales: float [P, 2], height and width of the template divided by those of the scene.
        centres: float [P, 2], row and column of the middle of the template.
        score: float [P], correlation, -1 to 1.
    """

    turns: Tensor
    scales: Tensor
    centres: Tensor
    score: Tensor


def turned(images: Tensor, turn: int) -> Tensor:
    """Images [..., H, W] in one of 8 ways: quarter turns, from 4 on of the mirrored image."""
    return torch.rot90(images.flip(-1) if turn >= 4 else images, turn % 4, (-2, -1))


def highpass(images: Tensor, sigma: float) -> Tensor:
    """Images [N, H, W] minus their Gaussian blur, which is normalised at the borders."""
    return images - blurred(images, sigma)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images [N, H, W] after a Gaussian blur, which is normalised at the borders."""
    across = _along_rows(images, sigma)
    return _along_rows(across.mT, sigma).mT


def _along_rows(images: Tensor, sigma: float) -> Tensor:
    # As one product of two matrices: a product for each image would take several times as long.
    side = images.shape[-1]
    return (images.reshape(-1, side) @ _gaussian(side, sigma).T).reshape(images.shape)


@cache
def _gaussian(side: int, sigma: float) -> Tensor:
    distance = torch.arange(side)[:, None] - torch.arange(side)[None, :]
    weights = torch.exp(-(distance**2) / (2 * sigma**2))
    return weights / weights.sum(1, keepdim=True)


class Templates:
    """One image in all turns and sizes, ready to be correlated.

    Args:
        grey: float [H, W].
    """

    def __init__(self, grey: Tensor) -> None:
        padded = torch.zeros(8, len(_SIZES), SIDE, SIDE)
        for size in _SIZES:
            small = functional.interpolate(grey[None, None], size, mode="bilinear", antialias=True)[0]
            flat = highpass(small, _BLUR)[0]
            flat = flat - flat.mean()
            unit = flat / flat.norm().clamp_min(1e-6)
            for turn in range(8):
                image = turned(unit, turn)
                # A turn changes the order of height and width.
                size_number = _SIZES.index((image.shape[0], image.shape[1]))
                padded[turn, size_number, : image.shape[0], : image.shape[1]] = image
        self.spectra = torch.fft.rfft2(padded).conj()  # [8, sizes, SIDE, SIDE / 2 + 1]


class Scene:
    """One image that templates are searched in.

    Args:
        grey: float [H, W].
    """

    def __init__(self, grey: Tensor) -> None:
        small = functional.interpolate(grey[None, None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
        filtered = highpass(small, _BLUR)[0]
        self.spectrum = torch.fft.rfft2(filtered)
        self.norms = _window_norms(filtered)  # [sizes, SIDE, SIDE]; infinite where a window does not fit or is plain


def _window_norms(image: Tensor) -> Tensor:
    """The norm of each window after its mean is removed, by size and upper left corner."""
    boxes, fits, areas = _windows()
    total, square = (torch.fft.irfft2(torch.fft.rfft2(each) * boxes, s=(SIDE, SIDE)) for each in (image, image**2))
    energy = square - total.square() / areas
    least = (_LEAST_ENERGY * image.var() + 1e-6) * areas
    return torch.where(fits & (energy > least), energy.clamp_min(1e-6).sqrt(), torch.inf)


@cache
def _windows() -> tuple[Tensor, Tensor, Tensor]:
    """By size of a window: its conjugate spectrum, where its upper left corner may lie, and its area in pixels."""
    boxes, fits = torch.zeros(len(_SIZES), SIDE, SIDE), torch.zeros(len(_SIZES), SIDE, SIDE, dtype=torch.bool)
    for number, (height, width) in enumerate(_SIZES):
        boxes[number, :height, :width] = 1
        fits[number, : SIDE - height + 1, : SIDE - width + 1] = True
    areas = torch.tensor([float(height * width) for height, width in _SIZES])[:, None, None]
    return torch.fft.rfft2(boxes).conj(), fits, areas


def place(templates: Templates, scene: Scene, kept: int) -> Placements:
    """The best `kept` placements of one template in a scene, each of another turn and size."""
    correlation = torch.fft.irfft2(templates.spectra * scene.spectrum, s=(SIDE, SIDE)) / scene.norms
    best, corners = correlation.flatten(2).max(2)  # [8, sizes]
    score, chosen = best.flatten().topk(kept)
    size, corner = chosen % best.shape[1], corners.flatten()[chosen]
    lengths = torch.tensor(_SIZES, dtype=torch.float32)[size]
    upper_left = torch.stack([corner // SIDE, corner % SIDE], 1).float()
    return Placements(chosen // best.shape[1], lengths / SIDE, (2 * upper_left + lengths) / SIDE - 1, score)
