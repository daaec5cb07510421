from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.center import (
    CenterLoss,
    batch_mean_centers,
    center_loss,
    moving_average_centers,
    wen_centers,
)

FEATURES = torch.tensor([[1.0, 1], [3, 1], [0, 0]])
LABELS = torch.tensor([0, 0, 1])
ZERO = torch.zeros(2, 2)


def random_batch(images: int = 12, classes: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Class 4 is absent."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(images, 3, generator=generator, dtype=torch.float64)
    centers = torch.randn(classes, 3, generator=generator, dtype=torch.float64)
    return features, torch.arange(images) % 4, centers


def test_worked_example() -> None:
    assert center_loss(FEATURES, LABELS, ZERO, "sum") == 6
    assert center_loss(FEATURES, LABELS, ZERO) == 2
    torch.testing.assert_close(batch_mean_centers(FEATURES, LABELS, ZERO), torch.tensor([[2.0, 1], [0, 0]]))
    torch.testing.assert_close(wen_centers(FEATURES, LABELS, ZERO), torch.tensor([[2 / 3, 1 / 3], [0, 0]]))
    torch.testing.assert_close(wen_centers(FEATURES, LABELS, ZERO, rate=1.0)[0], torch.tensor([4 / 3, 2 / 3]))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_agrees_with_a_loop(reduction: Literal["mean", "sum"]) -> None:
    features, labels, centers = random_batch()
    terms = [0.5 * float((x - centers[y]).square().sum()) for x, y in zip(features, labels, strict=True)]
    expected = sum(terms) / (len(terms) if reduction == "mean" else 1)
    assert float(center_loss(features, labels, centers, reduction)) == pytest.approx(expected)


def test_rules_agree_with_loops() -> None:
    features, labels, centers = random_batch()
    by_mean, by_wen, by_average = centers.clone(), centers.clone(), centers.clone()
    for j, c in enumerate(centers):
        members = [x for x, y in zip(features, labels, strict=True) if y == j]
        if members:
            by_mean[j] = c + torch.stack([x - c for x in members]).sum(0) / len(members)
            direction = c / c.square().sum().sqrt()
            by_average[j] = c + 0.3 * torch.stack([x - direction for x in members]).mean(0)
        by_wen[j] = c - 0.3 * sum((c - x for x in members), torch.zeros(3)) / (1 + len(members))
    torch.testing.assert_close(batch_mean_centers(features, labels, centers), by_mean)
    torch.testing.assert_close(wen_centers(features, labels, centers, rate=0.3), by_wen)
    torch.testing.assert_close(moving_average_centers(features, labels, centers, rate=0.3), by_average)


def test_share_of_the_way_to_the_mean() -> None:
    features = torch.randn(42, 3, dtype=torch.float64) + 5
    labels = torch.arange(3).repeat_interleave(14)
    centers = torch.zeros(3, 3, dtype=torch.float64)
    mean = features[:14].mean(0)
    torch.testing.assert_close(batch_mean_centers(features, labels, centers)[0] / mean, torch.ones_like(mean))
    moved = wen_centers(features, labels, centers)[0] / mean
    torch.testing.assert_close(moved, torch.full_like(mean, 14 / 15 / 2))


def test_absent_classes_keep_their_centre() -> None:
    features, labels, centers = random_batch()
    assert torch.equal(batch_mean_centers(features, labels, centers)[4], centers[4])
    assert torch.equal(wen_centers(features, labels, centers)[4], centers[4])
    assert torch.equal(moving_average_centers(features, labels, centers)[4], centers[4])


def test_joint_translation_changes_nothing() -> None:
    features, labels, centers = random_batch()
    shift = torch.tensor([3.0, -1, 2], dtype=torch.float64)
    loss = center_loss(features, labels, centers)
    torch.testing.assert_close(center_loss(features + shift, labels, centers + shift), loss)


def test_features_at_their_centre_have_zero_loss_and_gradient() -> None:
    _, labels, centers = random_batch()
    features = centers[labels].requires_grad_()
    loss = center_loss(features, labels, centers)
    torch.autograd.backward(loss)
    assert loss == 0
    assert features.grad is not None
    assert features.grad.eq(0).all()


def test_empty_batch_has_zero_loss() -> None:
    assert center_loss(FEATURES[:0], LABELS[:0], ZERO) == 0
    loss = CenterLoss(2, 2)
    assert loss(FEATURES[:0], LABELS[:0]) == 0
    assert not loss.seen.any()


def test_gradcheck() -> None:
    features, labels, centers = random_batch()
    features.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: center_loss(x, labels, centers), (features,))
    assert torch.autograd.gradcheck(lambda x: CenterLoss(5, 3).double().eval()(x, labels[:4]), (features[:4],))


@pytest.mark.parametrize("update", ["batch_mean", "wen"])
def test_first_batch_of_a_class_is_compared_with_its_mean(update: Literal["batch_mean", "wen"]) -> None:
    loss = CenterLoss(2, 2, update=update, normalise=False)
    features = FEATURES.clone().requires_grad_()
    value = loss(features, LABELS)
    torch.autograd.backward(value)
    assert float(value.detach()) == pytest.approx((0.5 * 1 + 0.5 * 1) / 3)
    torch.testing.assert_close(features.grad, torch.tensor([[-1.0, 0], [1, 0], [0, 0]]) / 3)
    torch.testing.assert_close(loss.centers, torch.tensor([[2.0, 1], [0, 0]]))
    assert loss.seen.tolist() == [True, True]


@pytest.mark.parametrize("update", ["batch_mean", "wen"])
def test_later_batches_are_compared_before_the_centres_move(update: Literal["batch_mean", "wen"]) -> None:
    features, labels, _ = random_batch()
    loss = CenterLoss(5, 3, update=update, rate=0.3, normalise=False).double()
    loss(features, labels)
    centers = loss.centers.clone()
    later = features.flip(0)
    torch.testing.assert_close(loss(later, labels), center_loss(later, labels, centers))
    rule = batch_mean_centers(later, labels, centers)
    expected = rule if update == "batch_mean" else wen_centers(later, labels, centers, rate=0.3)
    torch.testing.assert_close(loss.centers, expected)
    assert loss.seen.tolist() == [True, True, True, True, False]


def test_moving_average_starts_at_zero() -> None:
    """The first loss is half of 1, the squared norm of the features, and the centre a twentieth of their mean."""
    features, labels = torch.tensor([[0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]]), torch.tensor([0, 0, 1])
    loss = CenterLoss(3, 2, update="moving_average", rate=0.05)
    assert float(loss(features, labels)) == pytest.approx(0.5)
    torch.testing.assert_close(loss.centers, 0.05 * torch.tensor([[0.3, 0.9], [-1.0, 0.0], [0.0, 0.0]]))


def test_moving_average_compares_with_directions_before_it_moves() -> None:
    features, labels, _ = random_batch()
    loss = CenterLoss(5, 3, update="moving_average", rate=0.3).double()
    loss(features, labels)
    before = loss.centers.clone()
    later = features.flip(0) / features.flip(0).norm(dim=1, keepdim=True)
    directions = before / before.norm(dim=1, keepdim=True).clamp(min=1e-12)
    assert before[4].eq(0).all()
    assert directions[:4].norm(dim=1) == pytest.approx(1.0)
    torch.testing.assert_close(loss(later, labels), center_loss(later, labels, directions))
    torch.testing.assert_close(loss.centers, moving_average_centers(later, labels, before, rate=0.3))
    for rate, scale in ((1e-3, 1.0), (1e-3, 1e-3)):  # the norm of a centre does not matter
        twin = CenterLoss(5, 3, update="moving_average", rate=rate).double()
        twin.centers.copy_(scale * before)
        torch.testing.assert_close(twin(later, labels), center_loss(later, labels, directions))


@pytest.mark.parametrize("update", ["batch_mean", "wen", "moving_average"])
def test_evaluation_does_not_move_the_centres(update: Literal["batch_mean", "wen", "moving_average"]) -> None:
    features, labels, _ = random_batch()
    loss = CenterLoss(5, 3, update=update).double()
    loss(features, labels)
    before = {name: buffer.clone() for name, buffer in loss.named_buffers()}
    loss.eval()(features + 1, torch.full_like(labels, 4))
    assert all(torch.equal(buffer, before[name]) for name, buffer in loss.named_buffers())


def test_normalised_loss_does_not_depend_on_the_scale_of_features() -> None:
    features, labels, _ = random_batch()
    small, large = CenterLoss(5, 3).double(), CenterLoss(5, 3).double()
    torch.testing.assert_close(small(features, labels), large(1000 * features, labels))
    torch.testing.assert_close(small.centers, large.centers)
    assert (small.centers.norm(dim=1) <= 1).all()


def test_state_survives_saving() -> None:
    features, labels, _ = random_batch()
    loss, restored = CenterLoss(5, 3), CenterLoss(5, 3)
    loss(features, labels)
    restored.load_state_dict(loss.state_dict())
    assert set(loss.state_dict()) == {"centers", "seen"}
    assert list(loss.parameters()) == []
    assert torch.equal(loss(features, labels), restored(features, labels))


def test_loss_of_bfloat16_features_is_computed_in_float32() -> None:
    features, labels, _ = random_batch()
    features = features.bfloat16()
    loss, wide = CenterLoss(5, 3), CenterLoss(5, 3)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(features, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, wide(features.float(), labels))
    torch.testing.assert_close(loss.centers, wide.centers)


def test_unknown_update_or_reduction_is_an_error() -> None:
    wrong: Any = "median"
    with pytest.raises(UserError, match=r"loss\.center\.update"):
        CenterLoss(2, 2, update=wrong)
    with pytest.raises(UserError, match=r"loss\.center\.reduction"):
        CenterLoss(2, 2, reduction=wrong)
