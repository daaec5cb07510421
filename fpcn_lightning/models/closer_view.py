"""A closer view of each image, cut out around its mask: for whole batches at once."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models.crops import crop_and_resize, enclosing_cells

MaskView = Literal["none", "box", "window"]


def check_mask_view(kind: str, share: float) -> None:
    """Check the keys of the closer view.

    Raises:
        UserError: the kind is unknown, or the share is not in 0..1.
    """
    check_choice("model.mask_view", kind, ("none", "box", "window"))
    if not 0 <= share <= 1:
        raise UserError(f"model.mask_view_share={share} must be in 0..1: a share of the image's height and width.")


def closer_view(images: Tensor, inside: Tensor, kind: Literal["box", "window"], share: float) -> Tensor:
    """Cut out the surroundings of each mask and enlarge them to the size of the image, without gradient.

    Args:
        images: [B, C, S, S].
        inside: bool [B, H, W], True somewhere in each map.
        kind, share: see `mask_boxes`.

    Returns:
        [B, C, S, S].
    """
    size = images.shape[2]
    boxes = mask_boxes(inside, kind, share, (size, images.shape[3]))
    return crop_and_resize(images, boxes.unsqueeze(1), size).squeeze(1)


@torch.no_grad()
def mask_boxes(inside: Tensor, kind: Literal["box", "window"], share: float, picture_size: tuple[int, int]) -> Tensor:
    """The pixels of each image that its closer view shows.

    `box` is the smallest rectangle around the mask, as in MMAL-Net (arXiv 2003.09150) and in the attention cropping of
    WS-DAN (arXiv 1901.09891), which counterfactual attention learning (arXiv 2108.08728) uses. A threshold at the mean
    leaves single cells near the edges: without `largest_component` the box is often the whole image. `window` has the
    area of the mask and the proportions of the image, around the mask's centre of mass, which single cells hardly move.
    Both are widened to the minimal share about their centre, and moved where they would leave the image. The choice of
    the share is one of scale: rocks are classified by texture, of which a small window shows little, enlarged.

    Args:
        inside: bool [B, H, W], True somewhere in each map.
        kind: `box` or `window`.
        share: 0..1, the least height and width of the view as shares of those of the image.
        picture_size: height and width of the images, pixels.

    Returns:
        long [B, 4]: first row, first column, last row, last column, inclusive.
    """
    size = _filled(inside.shape[1:], inside.device)
    if kind == "box":
        first, end = enclosing_cells(inside).float().chunk(2, dim=1)
        centre, extent = (first + end) / 2, end - first
    else:
        mass = inside.float()
        centre = torch.stack([_mean_position(mass.sum(2)), _mean_position(mass.sum(1))], dim=1)
        extent = mass.mean((1, 2)).sqrt().unsqueeze(1) * size
    extent = torch.maximum(extent, share * size)
    start = torch.minimum((centre - extent / 2).clamp(min=0), size - extent)
    pixels = _filled(picture_size, inside.device) / size
    first, end = (start * pixels).round(), ((start + extent) * pixels).round()
    return torch.cat([first, torch.maximum(end - 1, first)], dim=1).long()


def _mean_position(mass: Tensor) -> Tensor:
    """Centre of mass [B] along one axis of the cells, mass [B, N]; the centre of the first cell is 0.5."""
    positions = torch.arange(mass.shape[1], device=mass.device) + 0.5
    return (mass * positions).sum(1) / mass.sum(1)


def _filled(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Numbers as float32 [N]; made on the device, because the host waits while `torch.tensor` copies them to a GPU."""
    return torch.cat([torch.full((1,), number, dtype=torch.float32, device=device) for number in numbers])
