"""Decides which candidates are copies by comparing their pixels, after one was aligned with a part of the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fpcn_lightning.audit.candidates import Candidates
from fpcn_lightning.audit.coarse import Placements, Scene, Templates, place
from fpcn_lightning.audit.refine import agreement, fit

# Least agreement of a copy, of the whole image and of the median of its blocks; others rarely reach more than 0.88.
COPY = 0.9
_COARSE, _MIDDLE = 0.45, 0.8  # least agreements to go on with a pair; those of copies are above 0.6 and 0.9
_MIDDLE_SIDES, _FINE_SIDE = (32, 64), 96  # pixels
_HYPOTHESES = 2  # placements of a pair that are fitted
_CHUNK = 512  # candidates at once
_SCENES = 512  # images whose spectra are kept

ReadGrey = Callable[[int], Tensor]
"""A whole image by its number in the descriptors, float [H, W] in grey, all of one size."""


@dataclass(frozen=True)
class Match:
    """A verified copy.

    Attributes:
        crop: number of the image that shows the whole or a part of the other one.
        scene: number of that one.
        agreement: correlation of details, `COPY` to 1.
        turn: 0 to 7: quarter turns, from 4 on of the mirrored image.
        height: share of the scene's height that is shown, up to about 1.
        width: likewise.
    """

    crop: int
    scene: int
    agreement: float
    turn: int
    height: float
    width: float


def verified(candidates: Candidates, grey: NDArray[np.uint8], read: ReadGrey) -> list[Match]:
    """The candidates that are copies, each pair once, in the placement that agrees best.

    A pair that is a candidate in both directions is compared in the second one only if the first was no copy.

    Args:
        candidates: pairs of images by number.
        grey: uint8 [N, S, S]: all images, small.
        read: reads an image that a closer look is worth.
    """
    best: dict[tuple[int, int], Match] = {}
    for start in _starts(len(candidates.crops)):
        part = slice(start, start + _CHUNK)
        pairs = zip(candidates.crops[part].tolist(), candidates.scenes[part].tolist(), strict=True)
        open_pairs = [pair for pair in pairs if (min(pair), max(pair)) not in best]
        if not open_pairs:
            continue
        crops, scenes = np.array(open_pairs).T
        for match in _matches(crops, scenes, torch.from_numpy(grey), read):
            pair = (min(match.crop, match.scene), max(match.crop, match.scene))
            if pair not in best or match.agreement > best[pair].agreement:
                best[pair] = match
    return [best[pair] for pair in sorted(best)]


def _starts(count: int) -> Iterator[int]:
    """Where each part of `count` candidates begins, with a progress bar."""
    with tqdm(total=count, desc="comparing", unit=" pairs", delay=2, disable=None, leave=False) as bar:
        for start in range(0, count, _CHUNK):
            yield start
            bar.update(min(_CHUNK, count - start))


@torch.inference_mode()
def _matches(crops: NDArray[np.int64], scenes: NDArray[np.int64], grey: Tensor, read: ReadGrey) -> Iterator[Match]:
    found = _placed(crops, scenes, grey)
    if found is None:
        return
    rows, placements = found
    crop, scene = (grey[torch.from_numpy(each[rows])].float() for each in (crops, scenes))
    placements = fit(crop, scene, placements, _MIDDLE_SIDES)
    reached = agreement(crop, scene, placements, _MIDDLE_SIDES[-1]).least
    chosen = _best_of_each(rows, reached)
    if not len(chosen):
        return
    rows, placements = rows[chosen], Placements(*[each[torch.from_numpy(chosen)] for each in placements])
    crop, scene = (torch.stack([read(int(number)) for number in each[rows]]) for each in (crops, scenes))
    placements = fit(crop, scene, placements, (_FINE_SIDE,))
    reached = agreement(crop, scene, placements, _FINE_SIDE).least
    for place_in_chunk, row in enumerate(rows):
        if (value := float(reached[place_in_chunk])) >= COPY:
            height, width = placements.scales[place_in_chunk].tolist()
            turn = int(placements.turns[place_in_chunk])
            yield Match(int(crops[row]), int(scenes[row]), min(1.0, value), turn, height, width)


def _placed(
    crops: NDArray[np.int64], scenes: NDArray[np.int64], grey: Tensor
) -> tuple[NDArray[np.int64], Placements] | None:
    """Hypotheses worth fitting and the row of the pair of each; None if there are none."""
    templates = lru_cache(maxsize=1)(lambda number: Templates(grey[number].float()))
    searched = lru_cache(maxsize=_SCENES)(lambda number: Scene(grey[number].float()))
    rows, placements = [], []
    for row, (crop, scene) in enumerate(zip(crops.tolist(), scenes.tolist(), strict=True)):
        found = place(templates(crop), searched(scene), _HYPOTHESES)
        if float(found.score[0]) >= _COARSE:
            rows += [row] * _HYPOTHESES
            placements.append(found)
    if not rows:
        return None
    joined = Placements(*[torch.cat(each) for each in zip(*placements, strict=True)])
    return np.array(rows), joined


def _best_of_each(rows: NDArray[np.int64], reached: Tensor) -> NDArray[np.int64]:
    """Of each pair its best hypothesis, where that is good enough."""
    pairs = reached.reshape(-1, _HYPOTHESES)
    best = pairs.max(1)
    chosen = torch.arange(0, len(rows), _HYPOTHESES) + best.indices
    good: NDArray[np.int64] = chosen[best.values >= _MIDDLE].numpy()
    return good
