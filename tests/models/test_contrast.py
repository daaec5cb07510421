import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.contrast import Fusion, PairContrast, product_gate, residual_gates


def vectors(count: int, pairs: int = 5, dim: int = 4) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(pairs, dim, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_parameters_of_the_papers_size() -> None:
    fusion = Fusion(2048)
    assert sum(p.numel() for p in fusion.reduce.parameters()) == 2_097_664
    assert sum(p.numel() for p in fusion.expand.parameters()) == 1_050_624
    assert sum(p.numel() for p in fusion.parameters()) == 2_097_664 + 1_050_624


@pytest.mark.parametrize("activation", ["relu", "none"])
def test_fusion_agrees_with_a_loop(activation: Any) -> None:
    fusion = Fusion(4, hidden=3, activation=activation).double().eval()
    a, b = vectors(2)
    for x, y, mutual in zip(a, b, fusion(a, b), strict=True):
        hidden = fusion.reduce.weight @ torch.cat([x, y]) + fusion.reduce.bias
        hidden = hidden.clamp(min=0) if activation == "relu" else hidden
        torch.testing.assert_close(mutual, fusion.expand.weight @ hidden + fusion.expand.bias)


def test_order_of_the_pair_matters() -> None:
    fusion = Fusion(4).double().eval()
    a, b = vectors(2)
    assert not torch.allclose(fusion(a, b), fusion(b, a))


def test_without_activation_the_rank_is_the_hidden_width() -> None:
    fusion = Fusion(16, hidden=3, activation="none").double().eval()
    a, b = vectors(2, pairs=50, dim=16)
    assert torch.linalg.matrix_rank(fusion(a, b) - fusion.expand.bias) == 3


def test_dropout_is_between_the_layers_and_in_training_only() -> None:
    fusion = Fusion(4, dropout=1.0).double()
    a, b = vectors(2)
    torch.testing.assert_close(fusion(a, b), fusion.expand.bias.expand(5, 4))
    fusion.eval()
    assert not torch.allclose(fusion(a, b), fusion.expand.bias)


def test_fusion_gradcheck() -> None:
    fusion = Fusion(4, hidden=3).double().eval()
    assert torch.autograd.gradcheck(fusion, [x.requires_grad_() for x in vectors(2)])


@pytest.mark.parametrize("gate", ["product", "residual"])
def test_the_own_gate_is_what_multiplies_the_features_of_an_image_paired_with_itself(gate: Any) -> None:
    contrast = PairContrast(4, hidden=3, gate=gate).double().eval()
    [features] = vectors(1)
    torch.testing.assert_close(features * contrast.own_gate(features), contrast.with_itself(features))


def test_product_gate_multiplies_both_images_with_the_mutual_vector() -> None:
    a, b, mutual = vectors(3)
    gated_a, gated_b = product_gate(a, b, mutual)
    for i in range(5):
        for j in range(4):
            assert gated_a[i, j] == a[i, j] * mutual[i, j]
            assert gated_b[i, j] == b[i, j] * mutual[i, j]


def test_residual_gates_agree_with_a_loop() -> None:
    a, b, mutual = vectors(3)
    gated = residual_gates(a, b, mutual)
    for i in range(5):
        for j in range(4):
            x, y, m = float(a[i, j]), float(b[i, j]), float(mutual[i, j])
            gate_x, gate_y = 1 / (1 + math.exp(-m * x)), 1 / (1 + math.exp(-m * y))
            expected = (x + x * gate_x, y + y * gate_y, x + x * gate_y, y + y * gate_x)
            assert [float(part[i, j]) for part in gated] == pytest.approx(expected)


def test_residual_gates_of_the_worked_example() -> None:
    gated = residual_gates(torch.tensor([[1.0, 2]]), torch.tensor([[0.0, 1]]), torch.tensor([[2.0, -1]]))
    torch.testing.assert_close(gated.self_a, torch.tensor([[1.880797, 2.238406]]))
    torch.testing.assert_close(gated.other_a, torch.tensor([[1.5, 2.537883]]))
    torch.testing.assert_close(gated.self_b, torch.tensor([[0.0, 1.268941]]))
    torch.testing.assert_close(gated.other_b, torch.tensor([[0.0, 1.119203]]))


def test_equal_images_have_equal_self_and_other() -> None:
    a, mutual = vectors(2)
    gated = residual_gates(a, a.clone(), mutual)
    assert torch.equal(gated.self_a, gated.other_a)
    assert torch.equal(gated.self_b, gated.other_b)


def test_gated_features_are_between_once_and_twice_the_feature() -> None:
    a, b, mutual = vectors(3)
    a, b = a.clamp(min=0), b.clamp(min=0)
    gated = residual_gates(a, b, mutual)
    for x, self_gated in ((a, gated.self_a), (b, gated.self_b)):
        assert (self_gated >= x).all()
        assert (self_gated <= 2 * x).all()
        assert self_gated[x == 0].eq(0).all()


def test_mutual_vector_of_zero_gives_one_and_a_half() -> None:
    a, b = vectors(2)
    gated = residual_gates(a, b, torch.zeros_like(a))
    torch.testing.assert_close(gated.self_a, 1.5 * a)


def test_gates_gradcheck() -> None:
    inputs = [x.requires_grad_() for x in vectors(3)]
    assert torch.autograd.gradcheck(lambda *x: tuple(residual_gates(*x)), inputs)
    assert torch.autograd.gradcheck(product_gate, inputs)


def test_bfloat16_autocast() -> None:
    a, b = (x.float().requires_grad_() for x in vectors(2))
    with torch.autocast("cpu", torch.bfloat16):
        gated = residual_gates(a, b, Fusion(4)(a, b))
    torch.autograd.backward(gated.other_a.sum())
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_unknown_activation_is_an_error() -> None:
    activation: Any = "gelu"
    with pytest.raises(UserError, match=r"model\.fusion_activation"):
        Fusion(4, activation=activation)


# --- pairs of a batch -----------------------------------------------------------------------------------------------


def pair_contrast(gate: Any, **options: Any) -> PairContrast:
    torch.manual_seed(0)
    return PairContrast(4, hidden=3, gate=gate, **options).double()


def alone(labels: list[int]) -> tuple[Views, nn.Module]:
    """Views of single images, and the linear layer that has classified them."""
    (features,) = vectors(1, pairs=len(labels))
    head = nn.Linear(4, 3).double()
    logits = head(features.requires_grad_())
    return Views(logits, torch.tensor(labels), logits, features), head


@pytest.mark.parametrize("gate", ["product", "residual"])
def test_pairs_keep_the_views_of_single_images(gate: Any) -> None:
    before, head = alone([0, 0, 1, 1])
    after = pair_contrast(gate).paired(before, head)
    assert after.own_logits is before.own_logits
    assert after.features is before.features
    assert len(after.logits) == len(after.targets) == {"product": 2 * 8, "residual": 4 * 8}[gate]
    assert (after.better is None) is (gate == "product")


@pytest.mark.parametrize("gate", ["product", "residual"])
def test_without_pairs_single_images_are_classified_and_the_graph_stays_connected(gate: Any) -> None:
    contrast = pair_contrast(gate)
    before, head = alone([1])
    after = contrast.paired(before, head)
    assert torch.equal(after.logits, before.logits)
    assert torch.equal(after.targets, before.targets)
    torch.autograd.backward(after.logits.sum())
    for parameter in contrast.parameters():
        assert parameter.grad is not None
        assert parameter.grad.eq(0).all()


@pytest.mark.parametrize("gate", ["product", "residual"])
def test_a_single_image_is_its_own_partner(gate: Any) -> None:
    contrast = pair_contrast(gate).eval()
    (a,) = vectors(1)
    mutual = contrast.fusion(a, a)
    expected = a * mutual if gate == "product" else a + a / (1 + torch.exp(-mutual * a))
    torch.testing.assert_close(contrast.with_itself(a), expected)


@pytest.mark.parametrize("key", ["gate", "pairs"])
def test_error_of_an_unknown_choice_names_its_key(key: str) -> None:
    options: Any = {key: "nonsense"}
    with pytest.raises(UserError, match=rf"model\.{key}=nonsense"):
        PairContrast(4, **options)
