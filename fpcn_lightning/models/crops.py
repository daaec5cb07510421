"""Boxes in cells of a feature map, the pixels they cover, and crops of them: for whole batches at once."""

import torch
from torch import Tensor
from torch.nn import functional


def enclosing_cells(inside: Tensor) -> Tensor:
    """The smallest rectangle around the cells that are True.

    Args:
        inside: bool [B, H, W], True somewhere in each map.

    Returns:
        long [B, 4]: first row, first column, and the row and the column after the last.
    """
    first_row, end_row = _span(inside.any(dim=2))
    first_column, end_column = _span(inside.any(dim=1))
    return torch.stack([first_row, first_column, end_row, end_column], dim=1)


def pixel_boxes(cells: Tensor, map_size: tuple[int, int], picture_size: tuple[int, int]) -> Tensor:
    """The pixels that rectangles of cells cover.

    Source: MMAL-Net (arXiv 2003.09150), whose code has a hard-coded stride of 32: cells r0 to r1 (exclusive) are the
    pixels max(0, 32 r0 - 1) to 32 r1 - 1, both inclusive. So a box that touches neither the upper nor the left edge is
    one pixel longer than its cells. Here the stride is image size / map size, and 32 r is rounded down.

    Args:
        cells: long [..., 4], as `enclosing_cells` returns them.
        map_size: height and width of the feature map.
        picture_size: height and width of the image, no smaller than the map.

    Returns:
        long [..., 4]: first row, first column, last row, last column, inclusive.
    """
    rows = cells[..., 0::2] * picture_size[0] // map_size[0]
    columns = cells[..., 1::2] * picture_size[1] // map_size[1]
    return (torch.stack([rows, columns], dim=-1).flatten(-2) - 1).clamp(min=0)


def crop_and_resize(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crop N boxes from each image and resize them to one size.

    The same as cropping and `interpolate(mode="bilinear", align_corners=True)`, box by box.

    Args:
        images: [B, C, H, W].
        boxes: long [B, N, 4], as `pixel_boxes` returns them.
        size: height and width of the crops, pixels.

    Returns:
        [B, N, C, size, size].
    """
    height, width = images.shape[2:]
    wide = torch.promote_types(images.dtype, torch.float32)
    steps = torch.linspace(0, 1, size, dtype=wide, device=images.device)
    top, left, bottom, right = boxes.to(wide).unsqueeze(3).unbind(dim=2)
    rows = _from_minus_one_to_one(top + (bottom - top) * steps, height)
    columns = _from_minus_one_to_one(left + (right - left) * steps, width)
    grid = torch.stack(
        [columns.unsqueeze(2).expand(-1, -1, size, -1), rows.unsqueeze(3).expand(-1, -1, -1, size)], dim=4
    )
    # The crops of an image are sampled below each other, so that the image is not copied for each of them.
    crops = functional.grid_sample(images.to(wide), grid.flatten(1, 2), padding_mode="border", align_corners=True)
    return crops.to(images.dtype).reshape(*images.shape[:2], -1, size, size).transpose(1, 2)


def _span(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """The first True position of each row of [B, N], and the position after the last."""
    positions = torch.arange(occupied.shape[1], device=occupied.device)
    first = torch.where(occupied, positions, len(positions)).amin(dim=1)
    return first, torch.where(occupied, positions + 1, 0).amax(dim=1)


def _from_minus_one_to_one(pixels: Tensor, length: int) -> Tensor:
    """Pixel positions in the coordinates of `grid_sample`: -1 is the first pixel, 1 the last."""
    return pixels * (2 / max(length - 1, 1)) - 1
