"""Which images of a batch are contrasted with which.

Every function returns the pairs of the whole pool of images or, with `anchors`, those of one process: the pairs of all
processes together are those that one process would choose from the whole pool.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fpcn_lightning.errors import UserError


class Pairs(NamedTuple):
    """P ordered pairs of different images.

    Attributes:
        anchors: long [P], positions in the pool.
        partners: long [P], positions in the pool.
        same_class: bool [P].
    """

    anchors: Tensor
    partners: Tensor
    same_class: Tensor


def select_pairs(
    policy: str,
    features: Tensor,
    labels: Tensor,
    per_image: int = 2,
    generator: torch.Generator | None = None,
    anchors: Tensor | None = None,
) -> Pairs:
    """Choose pairs by the name of the policy: "nearest", "random" or "all".

    Args:
        policy: which of the functions below is used; "all" ignores `per_image`.
        features: [N, D], used by "nearest" only.
        labels: long [N].
        per_image: pairs of each anchor.
        generator: used by "random" only.
        anchors: long [A], positions of the anchors; None takes all N.

    Raises:
        UserError: the policy is unknown, or `per_image` is below 1.
    """
    if policy == "nearest":
        return nearest_pairs(features, labels, per_image, anchors)
    if policy == "random":
        return random_pairs(labels, per_image, generator, anchors)
    if policy == "all":
        return all_pairs(labels, anchors)
    raise UserError(f"model.pairs is {policy!r}: it must be 'nearest', 'random' or 'all'.")


def nearest_pairs(features: Tensor, labels: Tensor, per_image: int = 2, anchors: Tensor | None = None) -> Pairs:
    """Pair each anchor with its nearest neighbours in Euclidean distance, half of them of its own class.

    With `per_image=2` these are the pairs of API-Net (Zhuang, Wang, Qiao, AAAI 2020), in its order: the same-class
    partner of every anchor, then the other-class partner of every anchor. `per_image=k` takes k // 2 partners of the
    same class and k - k // 2 of other classes, anchor by anchor and nearest first within each half. Of equally near
    images the first in the pool is taken.

    An image of which the batch holds too few candidates gets fewer pairs, down to none; the authors' code pairs it
    with image 0. Distances are sums of squared differences, without the cancellation of the expanded square there.

    Args:
        features: [N, D]; no gradient flows through the choice.
        labels: long [N].
        per_image: partners of each anchor, at least 1.
        anchors: long [A], positions of the anchors; None takes all N.

    Raises:
        UserError: `per_image` is below 1.
    """
    anchors = _positions(labels) if anchors is None else anchors
    points = features.detach().to(torch.promote_types(features.dtype, torch.float32))
    distances = torch.cdist(points[anchors], points, compute_mode="donot_use_mm_for_euclid_dist")
    return _closest(distances, labels, per_image, anchors)


def random_pairs(
    labels: Tensor, per_image: int = 2, generator: torch.Generator | None = None, anchors: Tensor | None = None
) -> Pairs:
    """Pair each anchor with random images: as `nearest_pairs`, with random numbers instead of distances.

    Args:
        labels: long [N].
        per_image: partners of each anchor, at least 1.
        generator: of the random numbers; processes that share its state agree with one process on the whole pool.
        anchors: long [A], positions of the anchors; None takes all N.

    Raises:
        UserError: `per_image` is below 1.
    """
    anchors = _positions(labels) if anchors is None else anchors
    device = labels.device if generator is None else generator.device
    draws = torch.rand(len(labels), len(labels), generator=generator, device=device).to(labels.device)
    return _closest(draws[anchors], labels, per_image, anchors)


def all_pairs(labels: Tensor, anchors: Tensor | None = None) -> Pairs:
    """Every pair of different images once, N (N - 1) / 2 in the whole pool.

    FPCN (Electronics 2023, 12(23), 4805) pairs any two samples in each batch.

    Images i < j form the pair (i, j) where i + j is odd and (j, i) where it is even, so that the numbers of pairs of
    which two images are the anchor differ by one at most, and every process has about the same number of pairs.

    Args:
        labels: long [N].
        anchors: long [A], positions of the anchors; None takes all N.
    """
    positions = _positions(labels)
    anchors = positions if anchors is None else anchors
    odd = (anchors.unsqueeze(1) + positions) % 2 == 1
    later = positions > anchors.unsqueeze(1)
    itself = positions == anchors.unsqueeze(1)
    rows, partners = ((odd == later) & ~itself).nonzero(as_tuple=True)
    return _pairs(anchors[rows], partners, labels)


def _closest(distances: Tensor, labels: Tensor, per_image: int, anchors: Tensor) -> Pairs:
    """Partners at the smallest distances [A, N]: per_image // 2 of the anchor's class, the others of other classes."""
    if per_image < 1:
        raise UserError(f"model.pairs_per_image is {per_image}: an image needs at least 1 pair.")
    same = labels[anchors].unsqueeze(1) == labels
    itself = anchors.unsqueeze(1) == _positions(labels)
    halves = [
        _least(distances, same & ~itself, per_image // 2, anchors),
        _least(distances, ~same, per_image - per_image // 2, anchors),
    ]
    chosen, partners = (torch.cat(parts) for parts in zip(*halves, strict=True))
    return _pairs(chosen, partners, labels)


def _least(distances: Tensor, allowed: Tensor, count: int, anchors: Tensor) -> tuple[Tensor, Tensor]:
    # A stable sort, because `topk` and `argmin` may return any of several equal values.
    order = distances.masked_fill(~allowed, torch.inf).sort(dim=1, stable=True).indices[:, :count]
    found = allowed.gather(1, order)
    return anchors.unsqueeze(1).expand_as(order)[found], order[found]


def _pairs(anchors: Tensor, partners: Tensor, labels: Tensor) -> Pairs:
    return Pairs(anchors, partners, labels[anchors] == labels[partners])


def _positions(labels: Tensor) -> Tensor:
    return torch.arange(len(labels), device=labels.device)
