"""Describes each image by the features of a frozen backbone, so that a changed copy is near to what it was copied from.

A copy may be turned, so each image is embedded in its four quarter turns; mirrored images hardly differ in pooled
features. A copy may also be a crop, enlarged to the common size. What a crop then shows at `QUERY` pixels is a region
of the whole image at `PROBE` pixels: the map of one forward pass at that size gives the features of many regions, and
those of the whole image that labels are predicted from.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from fpcn_lightning.data.pictures import RockPictures
from fpcn_lightning.models.network import average
from fpcn_lightning.models.normalisation import Normalisation
from fpcn_lightning.models.on_backbone import OnBackbone

QUERY = 128  # pixels, both sides: whole images are compared at this size
PROBE = 224  # pixels, both sides: of the images that are read
GREY = 64  # pixels, both sides: of the small images that pairs are first aligned with
DIMENSIONS = 128  # of a descriptor
_SHARES = (QUERY / PROBE, 0.75)  # sides of a region by those of the image
_POSITIONS = 3  # of regions of one size along each axis, at most
_BATCH = 32  # images
_SAMPLE = 512  # images that the projection is fitted to
_LUMA = torch.tensor([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Descriptors:
    """What is known of N images.

    Attributes:
        queries: float16 [4, N, D], unit length: whole images in their quarter turns.
        regions: float16 [R, N, D], unit length: the whole image (first) and regions of it.
        features: float32 [N, F]: pooled features of the whole image, for a probe.
        grey: uint8 [N, GREY, GREY]: the whole image in grey.
    """

    queries: NDArray[np.float16]
    regions: NDArray[np.float16]
    features: NDArray[np.float32]
    grey: NDArray[np.uint8]


def describe(network: OnBackbone, pictures: RockPictures, positions: NDArray[np.int64]) -> Descriptors:
    """The descriptors of the images at N `positions`.

    Args:
        network: its backbone is used, in evaluation mode.
        pictures: images that are resized to a square.
        positions: int64 [N].
    """
    network.eval()
    embed = _Embedding(network)
    spread = np.unique(np.linspace(0, len(positions) - 1, min(len(positions), _SAMPLE)).astype(np.int64))
    sample = torch.cat([embed.whole(images) for images in _batches(pictures, positions[spread], "features, sample")])
    project = _Projection(sample)
    queries, regions, features, greys = [], [], [], []
    for images in _batches(pictures, positions, "features"):
        turned = [embed.whole(torch.rot90(images, turns, (2, 3))) for turns in range(4)]
        queries.append(torch.stack([project(each) for each in turned]).half())
        found, whole = embed.regions(images)
        regions.append(torch.stack([project(each) for each in (turned[0], *found)]).half())
        features.append(whole)
        greys.append(_grey(images))
    return Descriptors(
        torch.cat(queries, 1).numpy(),
        torch.cat(regions, 1).numpy(),
        torch.cat(features).numpy(),
        torch.cat(greys).numpy(),
    )


class _Embedding:
    """Pooled features of batches of images, uint8 [B, 3, S, S]."""

    def __init__(self, network: OnBackbone) -> None:
        self._network, self._normalise = network, Normalisation(network)

    @torch.inference_mode()
    def whole(self, images: Tensor) -> Tensor:
        """Of whole images, [B, F]."""
        return average(self._maps(images, QUERY))

    @torch.inference_mode()
    def regions(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Of each region, [B, F]; and of the whole images at the size of the probe, [B, F]."""
        maps = self._maps(images, PROBE)
        return [average(maps[:, :, rows, columns]) for rows, columns in _windows(maps.shape[2])], average(maps)

    def _maps(self, images: Tensor, size: int) -> Tensor:
        if self._network.fixed_size:
            size = PROBE
        views = functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True)
        normalised = self._normalise(views).contiguous(memory_format=torch.channels_last)
        maps: Tensor = self._network.backbone(normalised).last.float()
        return maps


def _windows(side: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the regions in a map of `side` x `side` positions."""
    for share in _SHARES:
        length = max(1, round(side * share))
        starts = sorted({round(start) for start in np.linspace(0, side - length, _POSITIONS)})
        parts = [slice(start, start + length) for start in starts]
        yield from ((rows, columns) for rows in parts for columns in parts)


class _Projection:
    """Centres features, and projects them to their main directions, each divided by its standard deviation.

    Whitening makes small differences count (Jégou and Chum, ECCV 2012). A share of the mean variance is added, because
    the smallest variances of few images are noise.
    """

    def __init__(self, sample: Tensor) -> None:
        self._mean = sample.mean(0)
        centred = sample - self._mean
        _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
        kept = min(DIMENSIONS, len(singular))
        variances = singular[:kept].square() / max(1, len(sample) - 1)
        self._directions = directions[:kept] / (variances + variances.mean() + 1e-12).sqrt()[:, None]

    def __call__(self, features: Tensor) -> Tensor:
        """Descriptors [B, D] of unit length of features [B, F]."""
        return functional.normalize((features - self._mean) @ self._directions.T, dim=1)


def whole_grey(pictures: RockPictures, position: int) -> Tensor:
    """The grey [H, W] of a whole image, float32, 0..255, as pairs of images are compared."""
    return torch.from_numpy(pictures.whole(position)).float() @ _LUMA


def _grey(images: Tensor) -> Tensor:
    grey = torch.einsum("bchw,c->bhw", images.float(), _LUMA)[:, None]
    small = functional.interpolate(grey, (GREY, GREY), mode="bilinear", antialias=True)
    return small[:, 0].round().to(torch.uint8)


def _batches(pictures: RockPictures, positions: NDArray[np.int64], name: str) -> Iterator[Tensor]:
    """The whole images, uint8 [B, 3, S, S]."""
    starts = range(0, len(positions), _BATCH)
    for start in tqdm(starts, name, unit_scale=_BATCH, unit=" images", delay=2, disable=None, leave=False):
        images = [pictures.whole(int(position)) for position in positions[start : start + _BATCH]]
        yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
