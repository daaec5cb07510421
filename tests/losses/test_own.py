import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning import build
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.own import OwnTerm
from fpcn_lightning.losses.views import Views
from tests.conftest import classifier_of, config_of

LABELS = torch.tensor([0, 2, 1])


def views_of(own: Tensor) -> Views:
    """Views whose pairs have other logits and other targets than the images."""
    return Views(torch.ones(8, 3), torch.zeros(8, dtype=torch.long), own, torch.zeros(3, 5))


def own_logits() -> Tensor:
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_agrees_with_a_loop_over_images(smoothing: float) -> None:
    losses = []
    for row, label in zip(own_logits().tolist(), LABELS.tolist(), strict=True):
        logs = [value - math.log(sum(map(math.exp, row))) for value in row]
        losses.append(-(1 - smoothing) * logs[label] - smoothing * sum(logs) / 3)
    found = OwnTerm(1.0, smoothing)(views_of(own_logits()), LABELS)
    assert float(found) == pytest.approx(sum(losses) / 3, rel=1e-6)


def test_gradient_is_probability_minus_target_over_the_number_of_images() -> None:
    own = own_logits().requires_grad_()
    torch.autograd.backward(OwnTerm(1.0)(views_of(own), LABELS))
    target = torch.nn.functional.one_hot(LABELS, 3)
    torch.testing.assert_close(own.grad, ((own.softmax(1) - target) / 3).detach(), rtol=1e-5, atol=1e-7)


def test_half_precision_is_computed_in_float32() -> None:
    assert OwnTerm(1.0)(views_of(own_logits().bfloat16()), LABELS).dtype == torch.float32


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_label_smoothing_must_be_a_share(smoothing: float) -> None:
    with pytest.raises(UserError, match=r"loss\.own\.label_smoothing"):
        OwnTerm(1.0, smoothing)


@pytest.mark.filterwarnings("ignore:.*self.log.*")
def test_it_is_off_by_default_and_trains_the_head_of_single_images() -> None:
    off = config_of("model=fpcn_gated", "trainer=smoke")
    assert "own" not in build.loss_terms(off.loss, [10] * 3, 96)
    words = ("model=fpcn_gated", "trainer=smoke", "model.inference_mode=masked", "loss.own.weight=0.7")
    module = classifier_of(config_of(*words)).train()
    labels = torch.arange(3).repeat_interleave(2)
    terms = module.loss_terms(module.network.views(torch.rand(6, 3, 64, 64), labels), labels)
    assert module.weights["own"] == 0.7
    assert float(terms["own"].detach()) != float(terms["classification"].detach())
