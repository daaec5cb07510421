import math

import pytest
import torch
from torch.nn import functional

from fpcn_lightning.losses.ranking import score_ranking, true_class_probability
from fpcn_lightning.models.contrast import residual_gates


def test_agrees_with_a_loop() -> None:
    better, worse = torch.rand(2, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = sum(max(0.0, float(w - b) + 0.1) for b, w in zip(better, worse, strict=True)) / 30
    assert float(score_ranking(better, worse, margin=0.1)) == pytest.approx(expected)


def test_worked_example() -> None:
    assert float(score_ranking(torch.tensor([0.9, 0.5]), torch.tensor([0.8, 0.48]))) == pytest.approx(0.015)


def test_equal_images_have_the_margin_as_loss() -> None:
    x, mutual = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gated = residual_gates(x, x.clone(), mutual)
    targets = torch.arange(6) % 4
    better, worse = (true_class_probability(logits, targets) for logits in (gated.self_a, gated.other_a))
    assert float(score_ranking(better, worse)) == pytest.approx(0.05, abs=1e-15)


@pytest.mark.parametrize("classes", [3, 200])
def test_zero_head_has_log_classes_and_the_margin_as_loss(classes: int) -> None:
    logits, targets = torch.zeros(8, classes), torch.arange(8) % classes
    scores = true_class_probability(logits, targets)
    total = functional.cross_entropy(logits, targets) + score_ranking(scores, scores)
    assert float(total) == pytest.approx(math.log(classes) + 0.05, rel=1e-6)


def test_no_scores_have_zero_loss_and_stay_connected() -> None:
    better, worse = torch.zeros(0, requires_grad=True), torch.zeros(0, requires_grad=True)
    loss = score_ranking(better, worse)
    torch.autograd.backward(loss)
    assert loss == 0
    assert better.grad is not None


def test_probability_agrees_with_a_loop() -> None:
    logits = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    for row, target, probability in zip(logits, targets, true_class_probability(logits, targets), strict=True):
        total = sum(math.exp(value) for value in row.tolist())
        assert float(probability) == pytest.approx(math.exp(row[target]) / total)


def test_probability_is_computed_in_float32() -> None:
    logits = torch.randn(7, 5).bfloat16()
    targets = torch.zeros(7, dtype=torch.long)
    probability = true_class_probability(logits, targets)
    assert probability.dtype == torch.float32
    torch.testing.assert_close(probability, true_class_probability(logits.float(), targets))


def test_gradcheck() -> None:
    better, worse = (
        torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(s)).requires_grad_() for s in (0, 1)
    )
    assert torch.autograd.gradcheck(score_ranking, (better, worse))
