from collections import Counter

import pytest
import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.pairs import Pairs, all_pairs, nearest_pairs, random_pairs, select_pairs


def balanced_batch(classes: int = 3, each: int = 14, dim: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(classes).repeat_interleave(each)[torch.randperm(classes * each, generator=generator)]
    return torch.randn(classes * each, dim, generator=generator), labels


def as_list(pairs: Pairs) -> list[tuple[int, int, bool]]:
    return list(zip(pairs.anchors.tolist(), pairs.partners.tolist(), pairs.same_class.tolist(), strict=True))


def nearest_by_loops(features: Tensor, labels: Tensor, per_image: int) -> list[tuple[int, int, bool]]:
    expected = []
    for same, count in ((True, per_image // 2), (False, per_image - per_image // 2)):
        for i, x in enumerate(features.double()):
            distances = [
                (float((x - y).square().sum()), j)
                for j, y in enumerate(features.double())
                if j != i and (labels[i] == labels[j]) == same
            ]
            expected += [(i, j, same) for _, j in sorted(distances)[:count]]
    return expected


@pytest.mark.parametrize("per_image", [1, 2, 3, 6])
def test_nearest_agrees_with_loops_in_content_and_order(per_image: int) -> None:
    features, labels = balanced_batch()
    assert as_list(nearest_pairs(features, labels, per_image)) == nearest_by_loops(features, labels, per_image)


def test_nearest_makes_two_pairs_per_image_same_class_first() -> None:
    features, labels = balanced_batch()
    pairs = nearest_pairs(features, labels)
    assert len(pairs.anchors) == 84
    assert pairs.anchors.tolist() == [*range(42), *range(42)]
    assert pairs.same_class.tolist() == [True] * 42 + [False] * 42
    assert (pairs.anchors != pairs.partners).all()
    assert torch.equal(labels[pairs.anchors] == labels[pairs.partners], pairs.same_class)


def test_ties_go_to_the_first_in_the_pool() -> None:
    pairs = nearest_pairs(torch.zeros(6, 2), torch.tensor([1, 0, 1, 0, 1, 0]))
    assert pairs.partners.tolist() == [2, 3, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0]


def test_small_distances_between_long_vectors_are_exact() -> None:
    base = torch.full((1, 2048), 100.0)
    offsets = torch.zeros(4, 2048)
    offsets[1, :40] = 0.01
    offsets[2, :10] = 0.01
    offsets[3] = 1.0
    pairs = nearest_pairs(base + offsets, torch.tensor([0, 0, 0, 1]))
    assert pairs.partners[:3].tolist() == [2, 2, 0]


@pytest.mark.parametrize("policy", ["nearest", "random"])
def test_single_image_of_a_class_gets_no_partner_of_it(policy: str) -> None:
    pairs = select_pairs(policy, torch.randn(4, 3), torch.tensor([7, 5, 5, 5]))
    assert as_list(pairs)[0][0] == 1
    assert Counter(pairs.anchors.tolist()) == {0: 1, 1: 2, 2: 2, 3: 2}
    assert pairs.same_class.sum() == 3


@pytest.mark.parametrize("policy", ["nearest", "random"])
def test_one_class_gives_no_pair_of_two(policy: str) -> None:
    pairs = select_pairs(policy, torch.randn(4, 3), torch.zeros(4, dtype=torch.long))
    assert pairs.same_class.tolist() == [True] * 4


@pytest.mark.parametrize("policy", ["nearest", "random", "all"])
def test_one_image_gives_no_pair(policy: str) -> None:
    pairs = select_pairs(policy, torch.randn(1, 3), torch.zeros(1, dtype=torch.long))
    assert [len(part) for part in pairs] == [0, 0, 0]


@pytest.mark.parametrize("policy", ["nearest", "random"])
def test_all_candidates_are_taken_if_there_are_fewer_than_per_image(policy: str) -> None:
    pairs = select_pairs(policy, torch.randn(5, 3), torch.tensor([0, 0, 0, 1, 1]), per_image=20)
    assert sorted(as_list(pairs)) == sorted((i, j, (i < 3) == (j < 3)) for i in range(5) for j in range(5) if i != j)


def test_nan_features_give_no_wrong_pair() -> None:
    features, labels = balanced_batch(each=4)
    features[3] = torch.nan
    for anchor, partner, same in as_list(nearest_pairs(features, labels)):
        assert anchor != partner
        assert bool(labels[anchor] == labels[partner]) == same


@pytest.mark.parametrize("count", [2, 3, 8, 9])
def test_all_pairs_has_each_pair_once_and_balanced_anchors(count: int) -> None:
    pairs = all_pairs(torch.arange(count) % 3)
    unordered = {frozenset(pair) for pair in zip(pairs.anchors.tolist(), pairs.partners.tolist(), strict=True)}
    assert len(unordered) == len(pairs.anchors) == count * (count - 1) // 2
    assert all(len(pair) == 2 for pair in unordered)
    an_image = torch.bincount(pairs.anchors, minlength=count)
    assert an_image.max() - an_image.min() <= 1
    assert torch.equal(pairs.same_class, pairs.anchors % 3 == pairs.partners % 3)


@pytest.mark.parametrize("policy", ["nearest", "random", "all"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_pairs_of_the_ranks_are_those_of_the_whole_batch(policy: str, ranks: int) -> None:
    features, labels = balanced_batch()
    whole = select_pairs(policy, features, labels, generator=torch.Generator().manual_seed(5))
    shares = [
        select_pairs(policy, features, labels, generator=torch.Generator().manual_seed(5), anchors=anchors)
        for anchors in torch.arange(42).chunk(ranks)
    ]
    assert sorted(as_list(whole)) == sorted(pair for share in shares for pair in as_list(share))
    assert len({len(share.anchors) for share in shares}) == 1 or policy == "all"


def test_random_pairs_reach_every_partner_and_repeat_with_their_seed() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    generator = torch.Generator().manual_seed(0)
    first, *others = [random_pairs(labels, 2, generator) for _ in range(100)]
    assert as_list(first) == as_list(random_pairs(labels, 2, torch.Generator().manual_seed(0)))
    reached = {pair for pairs in (first, *others) for pair in as_list(pairs)}
    assert len(reached) == 6 * 5


def test_choice_carries_no_gradient() -> None:
    features, labels = balanced_batch()
    assert not nearest_pairs(features.requires_grad_(), labels).partners.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_nearest_in_other_precisions(dtype: torch.dtype) -> None:
    features, labels = balanced_batch()
    features = features.bfloat16().to(dtype)
    assert as_list(nearest_pairs(features, labels)) == as_list(nearest_pairs(features.float(), labels))


def test_unknown_policy_or_count_is_an_error() -> None:
    with pytest.raises(UserError, match=r"model\.pairs "):
        select_pairs("best", torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    with pytest.raises(UserError, match=r"model\.pairs_per_image"):
        select_pairs("nearest", torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), per_image=0)
