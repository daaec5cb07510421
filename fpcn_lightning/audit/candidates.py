"""Finds for each image the images that are most similar to it, as candidates for copies."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.audit.descriptors import Descriptors

NEIGHBOURS = 8  # of each image
_CHUNK = 256  # queries at once: no matrix of all images with all images exists


class Candidates(NamedTuple):
    """Pairs of images by their numbers in the descriptors.

    Attributes:
        crops: int64 [P]: an image that may show the whole or a part of the other one.
        scenes: int64 [P]: the other image.
        similarity: float32 [P], cosine, -1 to 1.
    """

    crops: NDArray[np.int64]
    scenes: NDArray[np.int64]
    similarity: NDArray[np.float32]


def find_candidates(
    descriptors: Descriptors, neighbours: int = NEIGHBOURS, apart: NDArray[np.bool_] | None = None
) -> Candidates:
    """For each image as a crop, the `neighbours` images with the most similar region, in any quarter turn of the crop.

    Time grows with the square of the number of images N, memory with N.

    Args:
        descriptors: of the images.
        neighbours: of each image.
        apart: bool [N]: only images with different values are candidates for each other; None: all are.
    """
    queries, regions = torch.from_numpy(descriptors.queries), torch.from_numpy(descriptors.regions)
    count = queries.shape[1]
    sides = None if apart is None else torch.from_numpy(apart)
    # Where sides are given, each image has as many candidates as the smaller side has images.
    kept = min(neighbours, count - 1 if sides is None else min(int(sides.sum()), int((~sides).sum())))
    if kept < 1:
        empty = np.empty(0, np.int64)
        return Candidates(empty, empty, np.empty(0, np.float32))
    scenes, similarities = [], []
    for start in tqdm(range(0, count, _CHUNK), "neighbours", delay=2, disable=None, leave=False):
        chunk = queries[:, start : start + _CHUNK].float()
        best = torch.full((chunk.shape[1], count), -torch.inf)
        for region in regions:
            gallery = region.float().T
            for turned in chunk:
                torch.maximum(best, turned @ gallery, out=best)
        rows = torch.arange(chunk.shape[1])
        best[rows, rows + start] = -torch.inf
        if sides is not None:
            best[sides[start : start + len(best), None] == sides] = -torch.inf
        found = best.topk(kept, dim=1)
        scenes.append(found.indices)
        similarities.append(found.values)
    return Candidates(
        np.repeat(np.arange(count), kept),
        torch.cat(scenes).flatten().numpy(),
        torch.cat(similarities).flatten().numpy(),
    )
