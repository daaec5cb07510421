import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning.losses.contrastive import contrastive_loss


def pairs(count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Some closer than the margin, some farther apart; every other one of the same class."""
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    away = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    distances = torch.tensor([0.1, 0.2, 0.4, 0.45, 2.0, 3.0], dtype=torch.float64)[:count]
    partners = anchors + away / away.norm(dim=1, keepdim=True) * distances.unsqueeze(1)
    return anchors, partners, torch.arange(count) % 2 == 0


def test_worked_example() -> None:
    anchors, partners = torch.zeros(3, 2), torch.tensor([[0.3, 0.4], [0.0, 0.2], [3.0, 4.0]])
    same = torch.tensor([True, False, False])
    # 0.5 squared within the class; (0.5 - 0.2) squared across; 5 is farther than the margin.
    assert float(contrastive_loss(anchors, partners, same)) == pytest.approx((0.25 + 0.09 + 0) / 3)
    assert float(contrastive_loss(anchors, partners, same, margin=6.0)) == pytest.approx((0.25 + 5.8**2 + 1) / 3)


@pytest.mark.parametrize("margin", [0.3, 0.5, 2.5])
def test_agrees_with_a_loop(margin: float) -> None:
    anchors, partners, same = pairs()
    terms = []
    for a, b, alike in zip(anchors, partners, same, strict=True):
        distance = math.dist(a.tolist(), b.tolist())
        terms.append(distance**2 if alike else max(0.0, margin - distance) ** 2)
    assert float(contrastive_loss(anchors, partners, same, margin)) == pytest.approx(sum(terms) / len(terms))


def test_order_within_a_pair_and_a_joint_move_change_nothing() -> None:
    anchors, partners, same = pairs()
    loss = contrastive_loss(anchors, partners, same)
    torch.testing.assert_close(contrastive_loss(partners, anchors, same), loss)
    torch.testing.assert_close(contrastive_loss(anchors + 5, partners + 5, same), loss)


def test_gradcheck() -> None:
    anchors, partners, same = pairs()
    inputs = (anchors.requires_grad_(), partners.requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: contrastive_loss(a, b, same), inputs)


def test_gradient_pulls_within_a_class_pushes_across_and_is_zero_beyond_the_margin() -> None:
    anchors, partners, same = pairs()
    anchors.requires_grad_()
    torch.autograd.backward(contrastive_loss(anchors, partners, same))
    assert anchors.grad is not None
    towards = ((partners - anchors.detach()) * -anchors.grad).sum(1)  # the direction of a gradient step
    assert (towards[same] > 0).all()
    distances = (partners - anchors.detach()).norm(dim=1)
    assert (towards[~same & (distances < 0.5)] < 0).all()
    assert anchors.grad[~same & (distances > 0.5)].eq(0).all()


@pytest.mark.parametrize("same", [True, False])
def test_pair_of_equal_embeddings_has_a_finite_gradient(same: bool) -> None:
    anchors = torch.ones(1, 3, requires_grad=True)
    loss = contrastive_loss(anchors, torch.ones(1, 3), torch.tensor([same]))
    torch.autograd.backward(loss)
    assert float(loss.detach()) == pytest.approx(0.0 if same else 0.25, abs=1e-5)
    assert anchors.grad is not None
    assert anchors.grad.isfinite().all()


def test_no_pairs_have_zero_loss_and_stay_connected() -> None:
    anchors = torch.zeros(0, 3, requires_grad=True)
    loss = contrastive_loss(anchors, torch.zeros(0, 3), torch.zeros(0, dtype=torch.bool))
    assert loss.detach() == 0
    assert loss.requires_grad


def test_half_precision_is_computed_in_float32() -> None:
    anchors, partners, same = pairs()
    loss = contrastive_loss(anchors.bfloat16(), partners.bfloat16(), same)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, contrastive_loss(anchors.bfloat16().float(), partners.bfloat16().float(), same))
