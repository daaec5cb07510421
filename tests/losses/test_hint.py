import pytest
import torch

from fpcn_lightning.losses.hint import Hint


def test_hint_agrees_with_a_loop() -> None:
    torch.manual_seed(0)
    hint = Hint(3, 2).double()
    student, teacher = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    weight, bias = hint.regressor.weight.tolist(), hint.regressor.bias.tolist()
    squares = [
        (sum(w * x for w, x in zip(weight[k], s, strict=True)) + bias[k] - t[k]) ** 2
        for s, t in zip(student.tolist(), teacher.tolist(), strict=True)
        for k in range(2)
    ]
    assert hint(student, teacher).item() == pytest.approx(sum(squares) / len(squares))


def test_regressor_learns_features_that_differ_by_a_linear_map() -> None:
    torch.manual_seed(0)
    student = torch.randn(64, 3)
    teacher = student @ torch.randn(3, 2) + torch.randn(2)
    hint = Hint(3, 2)
    before = hint(student, teacher).item()
    for _ in range(200):
        gradients = torch.autograd.grad(hint(student, teacher), list(hint.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(hint.parameters(), gradients, strict=True):
                parameter.sub_(0.3 * gradient)
    assert hint(student, teacher).item() < 1e-6 * before


def test_half_precision_is_compared_in_float32() -> None:
    hint = Hint(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert hint(torch.randn(4, 3), torch.randn(4, 2, dtype=torch.bfloat16)).dtype == torch.float32
