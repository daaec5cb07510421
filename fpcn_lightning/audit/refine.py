"""Fits a placement of one image in another to a fraction of a pixel, and measures how well both then agree.

Fitting is the Gauss-Newton method for a scale and a shift along each axis, with gain and offset of the brightness
(Baker and Matthews, International Journal of Computer Vision 2004), from coarse to fine.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.audit.coarse import Placements, blurred, highpass, turned

STEPS = 4  # of Gauss-Newton at one resolution
_SMALLEST, _LARGEST = 0.5, 1.1  # scales that are kept
_FINE, _COARSE = 1.0, 5.0  # sigma in pixels: what is finer is noise of the compression, what is coarser is brightness
_BLOCKS = 4  # along each axis
_PLAIN = 0.1  # share of the mean energy below which a block shows nothing


class Agreement(NamedTuple):
    """How P pairs agree: correlations of both filtered images, -1 to 1.

    Attributes:
        whole: float [P], of the whole images.
        blocks: float [P], the median over blocks that show something.
    """

    whole: Tensor
    blocks: Tensor

    @property
    def least(self) -> Tensor:
        """The smaller of both, float [P]: a common outline or watermark alone makes only one of them large."""
        return torch.minimum(self.whole, self.blocks)


def fit(templates: Tensor, scenes: Tensor, start: Placements, sides: tuple[int, ...]) -> Placements:
    """Better placements.

    Args:
        templates: float [P, H, W] in grey, not turned.
        scenes: float [P, H, W].
        start: P placements.
        sides: resolutions in pixels, one after the other.
    """
    scales, centres = start.scales, start.centres
    templates = _turned(templates, start.turns)
    for side in sides:
        target = _filtered(_resized(templates, side))
        source = _resized(scenes, side)
        for _ in range(STEPS):
            seen = _filtered(_warped(source, scales, centres, side))
            change = _gauss_newton(seen, target, scales)
            centres = centres + change[:, 0].clamp(-0.1, 0.1)
            scales = (scales + change[:, 1].clamp(-0.1, 0.1)).clamp(_SMALLEST, _LARGEST)
    return Placements(start.turns, scales, centres, start.score)


def agreement(templates: Tensor, scenes: Tensor, placements: Placements, side: int) -> Agreement:
    """How well templates agree with what their scenes show there, at a resolution of `side` pixels."""
    target = _filtered(_resized(_turned(templates, placements.turns), side))
    seen = _filtered(_warped(_resized(scenes, side), placements.scales, placements.centres, side))
    whole = _correlation(seen.flatten(1), target.flatten(1))
    blocks = [_in_blocks(each) for each in (seen, target)]
    energies = [block.var(2) for block in blocks]
    shows = torch.stack([energy > _PLAIN * energy.mean(1, keepdim=True) for energy in energies]).any(0)
    each = _correlation(*blocks).masked_fill(~shows, torch.nan)
    return Agreement(whole, each.nanmedian(1).values.nan_to_num(0.0))


def _gauss_newton(seen: Tensor, target: Tensor, scales: Tensor) -> Tensor:
    """Change of centres and scales, [P, 2 (centre, scale), 2 (row, column)]."""
    side = seen.shape[1]
    rows, columns = torch.gradient(seen, spacing=2 / side, dim=(1, 2))
    axis = (torch.arange(side) + 0.5) * 2 / side - 1
    down, across = rows / scales[:, :1, None], columns / scales[:, 1:, None]
    parts = [down, across, down * axis[:, None], across * axis[None, :], seen, torch.ones_like(seen)]
    design = torch.stack([part.flatten(1) for part in parts], 2)
    normal, right = design.mT @ design, design.mT @ target.flatten(1)[:, :, None]
    ridge = 1e-4 * normal.diagonal(dim1=1, dim2=2).clamp_min(1e-6)
    solution = torch.linalg.solve(normal + torch.diag_embed(ridge), right)[:, :, 0]
    gain = solution[:, 4]
    usable = gain > 0.1  # otherwise both do not agree, and no step is better than another
    change = torch.where(usable[:, None], solution[:, :4] / gain[:, None], 0.0)
    return change.reshape(-1, 2, 2)


def _filtered(images: Tensor) -> Tensor:
    return highpass(blurred(images, _FINE), _COARSE)


def _resized(images: Tensor, side: int) -> Tensor:
    return functional.interpolate(images[:, None], (side, side), mode="bilinear", antialias=True)[:, 0]


def _warped(scenes: Tensor, scales: Tensor, centres: Tensor, side: int) -> Tensor:
    """What scenes [P, H, W] show in their windows, [P, side, side]."""
    matrices = torch.zeros(len(scenes), 2, 3)
    matrices[:, 0, 0], matrices[:, 1, 1] = scales[:, 1], scales[:, 0]
    matrices[:, 0, 2], matrices[:, 1, 2] = centres[:, 1], centres[:, 0]
    grid = functional.affine_grid(matrices, [len(scenes), 1, side, side], align_corners=False)
    return functional.grid_sample(scenes[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


def _turned(images: Tensor, turns: Tensor) -> Tensor:
    found = torch.empty_like(images)
    for turn in torch.unique(turns).tolist():
        found[turns == turn] = turned(images[turns == turn], turn)
    return found


def _in_blocks(images: Tensor) -> Tensor:
    """[P, blocks, pixels]."""
    side = images.shape[1] // _BLOCKS
    parts = images.unfold(1, side, side).unfold(2, side, side)
    return parts.reshape(len(images), _BLOCKS**2, side * side)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's, over the last axis."""
    one, other = (each - each.mean(-1, keepdim=True) for each in (one, other))
    return functional.cosine_similarity(one, other, dim=-1)
