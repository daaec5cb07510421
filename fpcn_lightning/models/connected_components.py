"""The largest connected region of each mask of a batch, on the mask's own device."""

import torch
from torch import Tensor
from torch.nn import functional


def largest_component(mask: Tensor) -> Tensor:
    """Keep the largest 8-connected component of each mask.

    Of components of the same area, the one whose first pixel comes first in raster order (row by row) is kept, as in
    the localisation of the authors' code (FPCN, Electronics 2023, 12(23), 4805, section 3.1, omits the step). The
    operations depend on the size of the masks, not on their values: the host never waits for the device, and
    `torch.export` can trace the function, for masks of the exported size.

    Args:
        mask: bool [B, H, W].

    Returns:
        bool [B, H, W]; all False where the mask is empty.
    """
    roots = _component_roots(mask)
    outside = roots.shape[1]
    areas = roots.new_zeros(roots.shape[0], outside + 1).scatter_add(1, roots, mask.flatten(1).long())
    # No two scores are equal, so that the choice does not depend on which of several maxima a device finds first.
    scores = areas * (outside + 1) - torch.arange(outside + 1, device=mask.device)
    largest = scores.argmax(dim=1, keepdim=True)
    return (roots == largest).view_as(mask)


def _component_roots(mask: Tensor) -> Tensor:
    """Raster position of the first pixel of each pixel's component [B, H*W]; H*W where the mask is False.

    Every pixel is first a tree of its own. In each round every tree hooks onto the smallest root next to it, then
    pointer jumping makes the trees flat again (after Shiloach and Vishkin, Journal of Algorithms 3, 1982).

    A fixed number of rounds is enough for every mask. After the first, at most one root is left in any 2x2 pixels,
    because they all touch. Of the trees of one component, at most half remain after two further rounds: a tree that
    does not hook in the first of them is smaller than its neighbours; a neighbour of it hooks, and either onto this
    tree, or onto a smaller one, which the tree then touches and hooks onto in the second. Each tree that remains after
    both has absorbed another.
    """
    inside = mask.flatten(1)
    outside = inside.shape[1]
    positions = torch.arange(outside, device=mask.device)
    # One extra entry, which points at itself, is the root of all pixels outside the mask.
    parents = functional.pad(torch.where(inside, positions, outside), (0, 1), value=outside)
    parents = _hook_and_flatten(parents, mask, outside)
    trees = ((mask.shape[1] + 1) // 2) * ((mask.shape[2] + 1) // 2)
    while trees > 1:
        for _ in range(2):
            parents = _hook_and_flatten(parents, mask, trees)
        trees //= 2
    return parents[:, :-1]


def _hook_and_flatten(parents: Tensor, mask: Tensor, trees: int) -> Tensor:
    """One round, for a component of at most so many trees, whose pixels all point at their root."""
    outside = parents.shape[1] - 1
    smallest = torch.where(mask, _smallest_of_window(parents[:, :-1].view_as(mask), outside), outside)
    parents = parents.scatter_reduce(1, parents[:, :-1], smallest.flatten(1), "amin")
    # A chain of hooked trees is at most `trees` high; every jump halves the height.
    for _ in range((trees - 1).bit_length()):
        parents = parents.gather(1, parents)
    return parents


def _smallest_of_window(grid: Tensor, outside: int) -> Tensor:
    """Minimum of the 3x3 window around each pixel; by shifts: not every device max-pools integers."""
    padded = functional.pad(grid, (1, 1, 1, 1), value=outside)
    columns = torch.minimum(torch.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return torch.minimum(torch.minimum(columns[..., :-2], columns[..., 1:-1]), columns[..., 2:])
