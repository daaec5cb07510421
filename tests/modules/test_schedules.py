import math

import pytest
import torch

from fpcn_lightning.modules.schedules import cosine_with_warm_up


def rates(total: int, warm_up: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = cosine_with_warm_up(optimizer, total, warm_up)
    found = []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_grows_to_the_learning_rate_and_falls_to_zero() -> None:
    found = rates(20, 0.25)
    assert found[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    assert found[5:] == pytest.approx([1 + math.cos(math.pi * step / 15) for step in range(16)])
    assert found[-1] == pytest.approx(0)


def test_without_warm_up_it_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    assert rates(7, 0.0) == pytest.approx(expected)


@pytest.mark.parametrize("warm_up", [-0.1, 1.0, math.nan])
def test_a_share_out_of_range_is_named(warm_up: float) -> None:
    with pytest.raises(ValueError, match="warm_up="):
        rates(3, warm_up)
