"""Attention part proposal of MMAL-Net (arXiv 2003.09150): the windows of a feature map with the highest activation."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.models.crops import pixel_boxes
from fpcn_lightning.models.positioning import activation_map

WindowSet = Literal["cub", "cars"]
PUBLISHED_MAP = 14  # height and width in cells of the map that the shapes below are given for
LARGEST_OVERLAP = 0.25  # largest intersection over union at which two windows of a scale are both kept


class Scale(NamedTuple):
    """Windows of about one size: heights and widths in cells of a map of 14x14, and how many of them are kept."""

    shapes: tuple[tuple[int, int], ...]
    kept: int


SMALL = ((4, 4), (3, 5), (5, 3))
MEDIUM = ((6, 6), (5, 7), (7, 5))
LARGE = ((8, 8), (6, 10), (10, 6), (7, 9), (9, 7))
LARGE_OF_BIRDS = (*LARGE, (7, 10), (10, 7))
HUGE = ((10, 10), (9, 11), (11, 9), (8, 12), (12, 8))
WINDOWS: dict[WindowSet, tuple[Scale, ...]] = {
    "cub": (Scale(SMALL, 2), Scale(MEDIUM, 3), Scale(LARGE_OF_BIRDS, 2)),
    "cars": (Scale(MEDIUM, 3), Scale(LARGE, 2), Scale(HUGE, 1)),
}


def choose_parts(features: Tensor, scales: tuple[Scale, ...], picture_size: tuple[int, int]) -> Tensor:
    """The boxes of the windows with the highest mean activation, `kept` of every scale.

    Args:
        features: [B, D, H, W].
        scales: one of `WINDOWS`.
        picture_size: height and width in pixels of the images that the features were computed from.

    Returns:
        long [B, N, 4], inclusive pixels as `pixel_boxes` returns them, scale by scale; without gradient.
    """
    activation = activation_map(features)
    height, width = activation.shape[1:]
    chosen = []
    for scale in scales:
        shapes = [(_scaled(rows, height), _scaled(columns, width)) for rows, columns in scale.shapes]
        cells = place_windows(shapes, height, width, activation.device)
        boxes = pixel_boxes(cells, (height, width), picture_size)
        chosen.append(boxes[suppress(score_windows(activation, shapes), boxes, scale.kept)])
    return torch.cat(chosen, dim=1)


def place_windows(shapes: list[tuple[int, int]], height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Every position of every window on a map: shape by shape, row by row.

    Returns:
        long [K, 4] in cells: first row, first column, and the row and the column after the last.
    """
    placed = []
    for rows, columns in shapes:
        top = torch.arange(height - rows + 1, device=device)
        left = torch.arange(width - columns + 1, device=device)
        top, left = torch.cartesian_prod(top, left).unbind(dim=1)
        placed.append(torch.stack([top, left, top + rows, left + columns], dim=1))
    return torch.cat(placed)


def score_windows(activation: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
    """Mean activation [B, K] inside each window of maps [B, H, W], in the order of `place_windows`."""
    maps = activation.unsqueeze(1)
    return torch.cat([functional.avg_pool2d(maps, shape, stride=1).flatten(1) for shape in shapes], dim=1)


def suppress(scores: Tensor, boxes: Tensor, kept: int) -> Tensor:
    """Non-maximum suppression: the best window, then the best whose overlap with the picks so far is small enough.

    Which of several windows with the same score is taken is left to `argmax`, which makes no promise across devices.
    Scores tie where the map is the same in both, such as zero after a ReLU: the parts of such images may differ from
    those of the authors' code, and from one device to another.

    Args:
        scores: [B, K].
        boxes: long [K, 4], inclusive pixels, the same for all images.
        kept: number of picks. Where no window is left, the last pick is repeated.

    Returns:
        long [B, kept], positions among the K.
    """
    too_close = _overlaps(boxes)
    left = torch.ones_like(scores, dtype=torch.bool)
    picks = [scores.argmax(dim=1)]
    for _ in range(kept - 1):
        left = left & ~too_close[picks[-1]]
        best = scores.masked_fill(~left, -torch.inf).argmax(dim=1)
        picks.append(torch.where(left.any(dim=1), best, picks[-1]))
    return torch.stack(picks, dim=1)


def _overlaps(boxes: Tensor) -> Tensor:
    """Which pairs of boxes [K, 4] share more than `LARGEST_OVERLAP` of their union, bool [K, K]."""
    first, last = boxes[:, :2], boxes[:, 2:]
    areas = (last - first + 1).prod(dim=1)
    extents = torch.minimum(last[:, None], last) - torch.maximum(first[:, None], first) + 1
    shared = extents.clamp(min=0).prod(dim=2)
    return shared > LARGEST_OVERLAP * (areas[:, None] + areas - shared)


def _scaled(cells: int, size: int) -> int:
    """Height or width of a window on a map of `size` cells: at least one cell, at most the map."""
    return max(1, min(size, round(cells * size / PUBLISHED_MAP)))
