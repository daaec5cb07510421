import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.mask_view import MaskViewTerm
from fpcn_lightning.losses.views import Views

LABELS = torch.tensor([0, 2, 1])


def views_of(closer: Tensor | None) -> Views:
    return Views(
        torch.ones(8, 3),
        torch.zeros(8, dtype=torch.long),
        torch.ones(3, 3),
        torch.zeros(3, 5),
        None,
        None,
        mask_view=closer,
    )


def closer_logits() -> Tensor:
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_agrees_with_a_loop_over_images(smoothing: float) -> None:
    losses = []
    for row, label in zip(closer_logits().tolist(), LABELS.tolist(), strict=True):
        logs = [value - math.log(sum(map(math.exp, row))) for value in row]
        losses.append(-(1 - smoothing) * logs[label] - smoothing * sum(logs) / 3)
    found = MaskViewTerm(1.0, smoothing)(views_of(closer_logits()), LABELS)
    assert float(found) == pytest.approx(sum(losses) / 3, rel=1e-6)


def test_no_views_yet_is_zero_and_stays_connected() -> None:
    none = torch.zeros(0, 3, requires_grad=True)
    loss = MaskViewTerm(1.0)(views_of(none), LABELS)
    assert loss.detach() == 0
    assert loss.requires_grad


def test_a_network_without_closer_views_is_an_error() -> None:
    with pytest.raises(UserError, match=r"loss\.mask_view\.weight=0, or model\.mask_view=box"):
        MaskViewTerm(1.0)(views_of(None), LABELS)


def test_label_smoothing_must_be_a_share() -> None:
    with pytest.raises(UserError, match=r"loss\.mask_view\.label_smoothing"):
        MaskViewTerm(1.0, 2.0)
