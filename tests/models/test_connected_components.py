import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from fpcn_lightning.models.connected_components import _component_roots, _hook_and_flatten, largest_component


def reference(mask: Tensor) -> Tensor:
    """One image with scipy, whose labels follow the raster order of the first pixels."""
    labels, count = ndimage.label(mask.numpy(), structure=np.ones((3, 3)))
    if count == 0:
        return torch.zeros_like(mask)
    areas = np.bincount(labels.ravel())[1:]
    return torch.from_numpy(labels == 1 + int(areas.argmax()))


def serpentine(height: int, width: int) -> Tensor:
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[::2] = True
    mask[1::4, -1] = True
    mask[3::4, 0] = True
    return mask


def spiral(size: int) -> Tensor:
    """A path one pixel wide that winds from the upper left corner to the centre."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    row, column, (down, right) = 0, -1, (0, 1)
    for length in [size, *(n for n in range(size - 1, 0, -2) for _ in range(2))]:
        for _ in range(length):
            row, column = row + down, column + right
            mask[row, column] = True
        down, right = right, -down
    return mask


def comb(size: int) -> Tensor:
    """Teeth that are connected in the last row only, which the label propagation reaches last."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


def flooded(masks: Tensor) -> Tensor:
    """Raster position of the first pixel of each component, H * W outside, computed pixel by pixel."""
    size = masks[0].numel()
    outside = torch.tensor(float(size))
    before, labels = outside, torch.where(masks, torch.arange(size).view_as(masks[0]).float(), outside)
    while not torch.equal(before, labels):
        before = labels
        labels = torch.where(masks, -nn.functional.max_pool2d(-labels[:, None], 3, 1, 1)[:, 0], outside)
    return labels.long()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (7, 7), (14, 14), (13, 28), (40, 33)])
@pytest.mark.parametrize("density", [0.1, 0.35, 0.5, 0.8])
def test_random_masks_agree_with_scipy(height: int, width: int, density: float) -> None:
    masks = torch.rand(24, height, width, generator=torch.Generator().manual_seed(height)) < density
    torch.testing.assert_close(largest_component(masks), torch.stack([reference(mask) for mask in masks]))


@pytest.mark.parametrize("size", [5, 14, 29, 101])
def test_long_paths_are_one_component(size: int) -> None:
    for path in (serpentine(size, size), spiral(size), comb(size)):
        for mask in (path, path.T, path.flip(0), path.flip(1), path.flip(0, 1)):
            batch = torch.stack([mask, ~mask])
            torch.testing.assert_close(largest_component(batch), torch.stack([reference(m) for m in batch]))


def test_serpentine_is_one_component() -> None:
    path = serpentine(31, 31)
    assert torch.equal(largest_component(path[None])[0], path)


def test_diagonal_chain_is_one_component() -> None:
    chain = torch.eye(14, dtype=torch.bool)
    assert torch.equal(largest_component(chain[None])[0], chain)
    assert torch.equal(largest_component(chain.flip(0)[None])[0], chain.flip(0))


def test_larger_area_is_kept() -> None:
    mask = torch.zeros(1, 14, 14, dtype=torch.bool)
    mask[0, 1:3, 1:3] = True
    mask[0, 6:10, 6:12] = True
    kept = largest_component(mask)
    assert kept.sum() == 24
    assert kept[0, 6:10, 6:12].all()


def test_first_in_raster_order_is_kept_of_equal_areas() -> None:
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[0, 0, 6:8] = True
    mask[0, 1:3, 0] = True
    mask[0, 4:6, 4] = True
    kept = largest_component(mask)
    assert kept.sum() == 2
    assert kept[0, 0, 6:8].all()


def test_empty_and_full_masks_are_unchanged() -> None:
    masks = torch.stack([torch.zeros(5, 6), torch.ones(5, 6)]).bool()
    assert torch.equal(largest_component(masks), masks)
    assert largest_component(masks[:0]).shape == (0, 5, 6)


def test_result_does_not_depend_on_the_batch() -> None:
    masks = torch.rand(8, 14, 14, generator=torch.Generator().manual_seed(0)) < 0.4
    one_by_one = torch.cat([largest_component(mask[None]) for mask in masks])
    assert torch.equal(largest_component(masks), one_by_one)


@pytest.mark.parametrize(("height", "width"), [(1, 12), (2, 7), (4, 4), (3, 5)])
def test_rounds_suffice_for_every_small_mask(height: int, width: int) -> None:
    pixels = height * width
    masks = (torch.arange(2**pixels)[:, None] >> torch.arange(pixels) & 1).bool().view(-1, height, width)
    assert torch.equal(_component_roots(masks), flooded(masks).flatten(1))


@pytest.mark.parametrize("size", [14, 28])
def test_rounds_suffice_for_mazes(size: int) -> None:
    """Near the density at which the components of random masks are longest; with walls, a pixel joins two at most."""
    generator = torch.Generator().manual_seed(size)
    masks = torch.rand(600, size, size, generator=generator) < torch.linspace(0.3, 0.6, 600)[:, None, None]
    masks[::2, 1::2, 1::2] = False
    assert torch.equal(_component_roots(masks), flooded(masks).flatten(1))


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65, 100])
def test_a_round_leaves_flat_trees(length: int) -> None:
    """In a row of pixels, each hooks onto the one before it: no tree could be higher."""
    row = torch.ones(1, 1, length, dtype=torch.bool)
    parents = _hook_and_flatten(torch.arange(length + 1)[None], row, length)
    assert parents[0].tolist() == [0] * length + [length]


def test_operations_do_not_depend_on_the_values_of_masks() -> None:
    """On tensors without values, any operation that reads a value fails."""
    assert largest_component(torch.ones(3, 14, 14, dtype=torch.bool, device="meta")).shape == (3, 14, 14)


class Kept(nn.Module):
    def forward(self, masks: Tensor) -> Tensor:
        return largest_component(masks)


@pytest.mark.parametrize("size", [14, pytest.param(28, marks=pytest.mark.slow)])
def test_exports_with_any_batch_size(size: int) -> None:
    masks = torch.stack([spiral(size), comb(size), ~spiral(size), serpentine(size, size), torch.rand(size, size) < 0.4])
    program = torch.export.export(Kept(), (masks[:2],), dynamic_shapes={"masks": {0: torch.export.Dim("batch")}})
    assert torch.equal(program.module()(masks), torch.stack([reference(mask) for mask in masks]))
