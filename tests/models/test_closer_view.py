from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.closer_view import check_mask_view, closer_view, mask_boxes


def mask_of(rows: slice, columns: slice, size: int = 8) -> Tensor:
    inside = torch.zeros(size, size, dtype=torch.bool)
    inside[rows, columns] = True
    return inside


def random_masks(count: int = 20) -> Tensor:
    masks = torch.rand(count, 7, 5, generator=torch.Generator().manual_seed(0)) > 0.7
    masks[:, 3, 2] = True
    return masks


def boxes_by_loops(masks: Tensor, kind: str, share: float, picture: tuple[int, int]) -> list[list[int]]:
    boxes = []
    for mask in masks:
        cells = [(row, column) for row in range(mask.shape[0]) for column in range(mask.shape[1]) if mask[row, column]]
        first, last = [], []
        for axis in range(2):
            length, at = mask.shape[axis], [cell[axis] for cell in cells]
            if kind == "box":
                centre, extent = (min(at) + max(at) + 1) / 2, float(max(at) + 1 - min(at))
            else:
                centre, extent = sum(at) / len(at) + 0.5, (len(cells) / mask.numel()) ** 0.5 * length
            extent = max(extent, share * length)
            start = min(max(centre - extent / 2, 0), length - extent)
            first.append(round(start * picture[axis] / length))
            last.append(round((start + extent) * picture[axis] / length) - 1)
        boxes.append([*first, *last])
    return boxes


@pytest.mark.parametrize("kind", ["box", "window"])
@pytest.mark.parametrize("share", [0.0, 0.35, 0.62, 1.0])
def test_boxes_agree_with_a_loop_over_cells(kind: Any, share: float) -> None:
    found = mask_boxes(random_masks(), kind, share, (101, 97))
    assert found.tolist() == boxes_by_loops(random_masks(), kind, share, (101, 97))


@pytest.mark.parametrize(
    ("kind", "share", "box"),
    [
        ("box", 0.0, [16, 8, 31, 39]),  # 2 x 4 cells of 8 pixels
        ("box", 0.5, [8, 8, 39, 39]),  # 4 x 4 cells about the same centre
        ("window", 0.5, [8, 8, 39, 39]),
        ("window", 0.0, [13, 13, 34, 34]),  # 8 of 64 cells: 2.83 cells wide
        ("box", 1.0, [0, 0, 63, 63]),
    ],
)
def test_box_and_window_of_a_block(kind: Any, share: float, box: list[int]) -> None:
    assert mask_boxes(mask_of(slice(2, 4), slice(1, 5))[None], kind, share, (64, 64)).tolist() == [box]


@pytest.mark.parametrize("kind", ["box", "window"])
def test_a_view_at_the_edge_is_moved_into_the_image(kind: Any) -> None:
    corner = mask_of(slice(7, 8), slice(0, 1))[None]
    assert mask_boxes(corner, kind, 0.5, (64, 64)).tolist() == [[32, 0, 63, 31]]


def test_a_single_cell_moves_the_box_but_hardly_the_window() -> None:
    alone = mask_of(slice(2, 5), slice(2, 5))
    both = torch.stack([alone, alone | mask_of(slice(7, 8), slice(7, 8))])
    boxes, windows = (mask_boxes(both, kind, 0.0, (64, 64)).float() for kind in ("box", "window"))
    assert (boxes[1] - boxes[0]).abs().max() == 24
    assert (windows[1] - windows[0]).abs().max() <= 5


@pytest.mark.parametrize("kind", ["box", "window"])
def test_the_view_is_the_crop_resized(kind: Any) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    inside = torch.stack([mask_of(slice(2, 4), slice(1, 5)), mask_of(slice(0, 8), slice(0, 8))])
    views = closer_view(images, inside, kind, 0.3)
    for image, (top, left, bottom, right), view in zip(
        images, mask_boxes(inside, kind, 0.3, (64, 64)).tolist(), views, strict=True
    ):
        crop = image[None, :, top : bottom + 1, left : right + 1]
        expected = functional.interpolate(crop, size=(64, 64), mode="bilinear", align_corners=True)[0]
        torch.testing.assert_close(view, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(views[1], images[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "share", "words"),
    [
        ("both", 0.5, r"model\.mask_view=both"),
        ("box", 1.1, r"model\.mask_view_share=1\.1"),
        ("box", -0.1, r"model\.mask_view_share=-0\.1"),
    ],
)
def test_errors_name_the_key(kind: str, share: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_mask_view(kind, share)
