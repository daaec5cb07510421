"""The largest connected region of each mask of a batch, on the mask's own device."""

import torch
from torch import Tensor
from torch.nn import functional

# Feature maps of up to 28x28, noise and spirals included, mostly settle in this many rounds. Asking after every round
# would make the host wait for the device each time.
ROUNDS_BETWEEN_CHECKS = 8


def largest_component(mask: Tensor) -> Tensor:
    """Keep the largest 8-connected component of each mask.

    Two components of the same area: the one whose first pixel comes first in raster order (row by row) is kept, as in
    the localisation of the authors' code (FPCN, Electronics 2023, 12(23), 4805, section 3.1 leaves the step out).
    The number of rounds depends on the data, so the function runs eagerly and does not pass through `torch.export`.

    Args:
        mask: bool [B, H, W].

    Returns:
        bool [B, H, W]; all False where the mask is empty.
    """
    roots = _component_roots(mask)
    outside = roots.shape[1]
    areas = torch.zeros(len(roots), outside + 1, dtype=torch.long, device=mask.device)
    areas.scatter_add_(1, roots, mask.flatten(1).long())
    # No two scores are equal, so that the choice does not hang on which of several maxima a device finds first.
    scores = areas * (outside + 1) - torch.arange(outside + 1, device=mask.device)
    largest = scores.argmax(dim=1, keepdim=True)
    return (roots == largest).view_as(mask)


def _component_roots(mask: Tensor) -> Tensor:
    """Raster position of the first pixel of each pixel's component [B, H*W]; H*W where the mask is False.

    Every pixel points at a pixel of its own component that comes no later than itself. Rounds of hooking and pointer
    jumping (after Shiloach and Vishkin, Journal of Algorithms 3, 1982) flatten these trees: a spiral of 200x200 pixels
    takes about 15 of them, where labels that spread from pixel to pixel need as many as the path is long.
    """
    inside = mask.flatten(1)
    outside = inside.shape[1]
    positions = torch.arange(outside, device=mask.device)
    # One more entry, which points at itself, is what the pixels outside point at.
    parents = functional.pad(torch.where(inside, positions, outside), (0, 1), value=outside)
    while True:
        before = parents
        for _ in range(ROUNDS_BETWEEN_CHECKS):
            before, parents = parents, _hook_and_jump(parents, mask)
        if torch.equal(before, parents):
            return parents[:, :-1]


def _hook_and_jump(parents: Tensor, mask: Tensor) -> Tensor:
    """One round: each root hooks onto the smallest parent next to its tree, then each pixel onto its grandparent."""
    outside = parents.shape[1] - 1
    smallest = torch.where(mask, _smallest_of_window(parents[:, :-1].view_as(mask), outside), outside)
    hooked = parents.scatter_reduce(1, parents[:, :-1], smallest.flatten(1), "amin")
    return hooked.gather(1, hooked)


def _smallest_of_window(grid: Tensor, outside: int) -> Tensor:
    """Minimum of the 3x3 window around each pixel; by shifts, since max-pooling of integers is not for every device."""
    padded = functional.pad(grid, (1, 1, 1, 1), value=outside)
    columns = torch.minimum(torch.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return torch.minimum(torch.minimum(columns[..., :-2], columns[..., 1:-1]), columns[..., 2:])
