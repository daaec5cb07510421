"""What alpha does for each divisor, and where it cancels."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.masked_pooling import divisor_of, pool
from fpcn_lightning.models.positioning import Positioning

THETAS = (0.0, 0.25, 0.5, 0.9)


def features_of(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 6, 9, 7, generator=generator, dtype=torch.float64).pow(4)


def pooled(alpha: Any, over: Any, **options: Any) -> Tensor:
    return pool(features_of(), Positioning(alpha=alpha, **options)(features_of()), over)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("soft", [False, True])
def test_over_the_mask_the_alpha_of_equation_5_cancels(theta: float, soft: bool) -> None:
    options: dict[str, Any] = {"theta": theta, "soft": soft}
    torch.testing.assert_close(
        pooled("area", "mask", **options), pooled("off", "map", **options), rtol=1e-13, atol=1e-15
    )
    assert not torch.allclose(pooled("area", "map", **options), pooled("off", "map", **options))


@torch.no_grad()
@pytest.mark.parametrize("theta", THETAS)
def test_with_that_divisor_the_whole_network_is_the_one_without_alpha(theta: float) -> None:
    logits = []
    for alpha, over in (("area", "mask"), ("off", "map")):
        torch.manual_seed(0)
        network = FPCN(3, 64, "test_resnet", False, theta=theta, alpha=alpha, pool_over=over).double().eval()  # type: ignore[arg-type]
        images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        views = network.views(images, torch.arange(3).repeat(2))
        logits.append(torch.cat([views.logits, *network.predict(images).logits.values()]))
    torch.testing.assert_close(*logits, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("theta", THETAS)
def test_over_the_weights_it_is_their_weighted_mean(theta: float) -> None:
    found = pooled("soft", "weights", theta=theta)
    weights = Positioning(alpha="soft", theta=theta)(features_of()).weights
    for image, weight, row in zip(features_of(), weights[:, 0], found, strict=True):
        for channel, value in zip(image, row, strict=True):
            cells = [(y, x) for y in range(9) for x in range(7)]
            total = sum(float(channel[cell] * weight[cell]) for cell in cells)
            assert float(value) == pytest.approx(total / sum(float(weight[cell]) for cell in cells))
    torch.testing.assert_close(pooled("off", "weights", theta=theta), pooled("off", "mask", theta=theta))


def test_over_the_weights_the_length_of_the_features_does_not_depend_on_the_area() -> None:
    constant = torch.ones(2, 6, 8, 8)
    constant[0, :, 0, 0], constant[1, :, :4] = 2, 2  # a small and a large object
    for over, same in (("weights", True), ("map", False), ("mask", False)):
        located = Positioning(alpha="soft")(constant)
        ones = pool(torch.ones_like(constant), located, over)  # type: ignore[arg-type]
        assert torch.allclose(ones, torch.ones_like(ones)) is same


def test_soft_alpha_turns_features_and_that_of_equation_5_only_scales_them() -> None:
    off = pooled("off", "map")
    torch.testing.assert_close(cosine_similarity(pooled("area", "map"), off), torch.ones(4, dtype=torch.float64))
    for over in ("map", "mask", "weights"):
        assert (cosine_similarity(pooled("soft", over), off) < 0.9999).all()


def test_a_smaller_object_keeps_more_of_its_surroundings() -> None:
    shares = []
    for rows in (1, 3, 6):
        features = torch.zeros(1, 1, 8, 8)
        features[:, :, :rows] = 1
        weights = Positioning(alpha="soft")(features).weights[0, 0]
        shares.append(float(weights[rows:].mean()))
    assert shares == pytest.approx([7 / 8, 5 / 8, 2 / 8])


@pytest.mark.parametrize("alpha", ["area", 0.5])
def test_an_alpha_that_the_divisor_cancels_is_an_error(alpha: Any) -> None:
    with pytest.raises(UserError, match=rf"model\.alpha={alpha} has no effect with model\.pool_over=weights"):
        divisor_of("weights", mask=True, alpha=alpha)
    with pytest.raises(UserError, match=r"model\.pool_over"):
        FPCN(3, 64, "test_resnet", False, alpha=alpha)


@pytest.mark.parametrize(
    ("over", "mask", "used"),
    [("mask", False, "map"), ("weights", False, "map"), ("nothing", False, "nothing"), ("weights", True, "weights")],
)
def test_without_a_mask_the_divisor_is_the_map(over: Any, mask: bool, used: str) -> None:
    assert divisor_of(over, mask=mask, alpha="off") == used


# --- soft masks -----------------------------------------------------------------------------------------------------


def test_a_soft_mask_agrees_with_a_loop() -> None:
    located = Positioning(soft=True, theta=0.3)(features_of())
    for image, mask, ratio in zip(features_of(), located.mask, located.object_ratio, strict=True):
        values = [float(image[:, y, x].sum()) for y in range(9) for x in range(7)]
        mean = sum(values) / 63
        deviation = (sum((value - mean) ** 2 for value in values) / 63) ** 0.5
        expected = [max(0.3, 1 / (1 + 2.718281828459045 ** (-(value - mean) / deviation))) for value in values]
        assert mask.flatten().tolist() == pytest.approx(expected)
        assert float(ratio) == pytest.approx(sum(expected) / 63)


def test_a_soft_mask_is_a_half_where_the_threshold_is() -> None:
    hard, soft = Positioning()(features_of()), Positioning(soft=True)(features_of())
    assert torch.equal(soft.mask >= 0.5, hard.inside)
    assert torch.equal(soft.inside, hard.inside)
    assert not soft.mask.requires_grad


@pytest.mark.parametrize("value", [0.0, 0.1, float("nan"), float("inf")])
def test_a_soft_mask_of_a_constant_map_is_full(value: float) -> None:
    assert Positioning(soft=True)(torch.full((2, 3, 5, 4), value)).mask.eq(1).all()


@pytest.mark.parametrize("option", ["largest_component", "previous_block"])
def test_a_soft_mask_has_no_component_and_no_other_block(option: str) -> None:
    options: Any = {option: True}
    with pytest.raises(UserError, match=rf"model\.mask_kind=soft.*model\.{option}=false"):
        Positioning(soft=True, **options)
