import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.classification import ClassificationTerm
from fpcn_lightning.losses.views import Views


def views(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Views:
    return Views(logits, targets, logits, torch.zeros(len(logits), 1), weights=weights)


def expected(rows: list[list[float]], targets: list[int], smoothing: float, added: list[float]) -> list[float]:
    losses = []
    for row, target in zip(rows, targets, strict=True):
        logits = [value + more for value, more in zip(row, added, strict=True)]
        total = math.log(sum(math.exp(value) for value in logits))
        shares = [smoothing / len(row) + (1 - smoothing) * (target == label) for label in range(len(row))]
        losses.append(sum(share * (total - value) for share, value in zip(shares, logits, strict=True)))
    return losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("factor", [0.0, 1.0, 0.7])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_a_loop(smoothing: float, factor: float, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets, counts = torch.randn(6, 3, generator=generator), torch.arange(6) % 3, [5, 20, 75]
    weights = torch.rand(6, generator=generator) if weighted else None
    term = ClassificationTerm(1.0, smoothing, factor, counts)
    added = [factor * math.log(count / 100) for count in counts]
    losses = expected(logits.tolist(), targets.tolist(), smoothing, added)
    mean = sum(losses) / 6 if weights is None else sum(w * x for w, x in zip(weights.tolist(), losses, strict=True))
    assert float(term(views(logits, targets, weights), targets)) == pytest.approx(mean, rel=1e-5)


def test_mixed_images_have_the_loss_of_both_classes() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    first, second = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 2])
    shares = 0.3 * torch.eye(3)[first] + 0.7 * torch.eye(3)[second]
    term = ClassificationTerm(1.0)
    parts = 0.3 * term(views(logits, first), first) + 0.7 * term(views(logits, second), second)
    assert float(term(views(logits, shares), first)) == pytest.approx(float(parts), rel=1e-6)


def test_a_class_without_images_is_finite() -> None:
    term = ClassificationTerm(1.0, logit_adjustment=1.0, class_counts=[0, 9])
    assert math.isfinite(float(term(views(torch.zeros(2, 2), torch.tensor([0, 1])), torch.tensor([0, 1]))))


@pytest.mark.parametrize("options", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"logit_adjustment": -1.0}])
def test_values_out_of_range_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"loss\.classification\.{next(iter(options))}="):
        ClassificationTerm(1.0, **options)
