import math
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.masked_pooling import pool
from fpcn_lightning.models.positioning import Located, Positioning, activation_map

AUTHORS = {"strict": True, "largest_component": True, "previous_block": True}
FOUR_BY_FOUR = torch.tensor([[0.0, 0, 0, 0], [0, 4, 4, 0], [0, 4, 4, 0], [0, 0, 0, 3]])[None, None]


def blob(rows: slice, columns: slice, value: float = 1.0, channels: int = 1, size: int = 14) -> Tensor:
    features = torch.zeros(1, channels, size, size)
    features[:, :, rows, columns] = value
    return features


def random_features(batch: int = 4, channels: int = 6, height: int = 9, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)


def test_threshold_and_ratio_agree_with_a_loop() -> None:
    features = random_features()
    located = Positioning(theta=0.25)(features)
    for image, mask, ratio in zip(features, located.mask, located.object_ratio, strict=True):
        _, height, width = image.shape
        activation = [[float(image[:, y, x].sum()) for x in range(width)] for y in range(height)]
        mean = sum(map(sum, activation)) / (height * width)
        expected = [[1.0 if value >= mean else 0.25 for value in row] for row in activation]
        torch.testing.assert_close(mask, torch.tensor(expected, dtype=torch.float64))
        assert float(ratio) == pytest.approx(sum(map(sum, expected)) / (height * width))


def test_mask_area_of_a_block() -> None:
    features = blob(slice(2, 5), slice(3, 7), channels=2048)
    located = Positioning(**AUTHORS)(features, features)
    assert located.mask.sum() == 12
    assert float(located.object_ratio) == pytest.approx(0.0612245, abs=1e-7)


def test_larger_area_is_kept_over_a_brighter_blob() -> None:
    features = blob(slice(1, 3), slice(1, 3), value=5.0) + blob(slice(6, 10), slice(6, 12))
    located = Positioning(largest_component=True)(features)
    assert located.mask.sum() == 24
    assert located.mask[0, 6:10, 6:12].all()


def test_disjoint_blocks_give_the_full_mask() -> None:
    located = Positioning(**AUTHORS)(blob(slice(0, 3), slice(0, 3)), blob(slice(8, 12), slice(8, 12)))
    assert located.mask.all()
    assert located.object_ratio == 1


def test_previous_block_intersects() -> None:
    located = Positioning(previous_block=True)(blob(slice(0, 6), slice(0, 6)), blob(slice(4, 12), slice(4, 12)))
    assert located.mask.sum() == 4


@pytest.mark.parametrize("constant", ["last", "previous"])
def test_a_constant_map_in_one_block_leaves_what_the_other_has(constant: str) -> None:
    """Unlike the authors' code, which has the full mask of 196 cells where the previous map is constant."""
    block, flat = blob(slice(2, 5), slice(3, 7)), torch.ones(1, 1, 14, 14)
    maps = (flat, block) if constant == "last" else (block, flat)
    assert Positioning(**AUTHORS)(*maps).mask.sum() == 12


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("options", [{}, AUTHORS])
def test_constant_or_infinite_map_gives_the_full_mask(value: float, options: dict[str, bool]) -> None:
    features = torch.full((2, 3, 13, 11), value)
    located = Positioning(**options)(features, features)
    assert located.mask.eq(1).all()
    assert located.object_ratio.eq(1).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_gives_the_full_mask_to_its_image_alone(value: float) -> None:
    features = blob(slice(2, 5), slice(3, 7)).repeat(2, 1, 1, 1)
    features[1, 0, 0, 0] = value
    assert Positioning()(features).mask.sum(dim=(1, 2)).tolist() == [12, 196]


def test_strict_differs_on_ties_only() -> None:
    features = torch.tensor([[0.0, 1, 2]])[None, None]
    assert Positioning()(features).mask.tolist() == [[[0, 1, 1]]]
    assert Positioning(strict=True)(features).mask.tolist() == [[[0, 0, 1]]]


def test_half_map_follows_the_alpha_squared_law() -> None:
    features = blob(slice(0, 7), slice(0, 14), value=2.0)
    located = Positioning()(features)
    assert located.object_ratio == 0.5
    assert float(pool(features, located, over="map")) == pytest.approx(0.5)
    assert float(pool(features, located, over="mask")) == pytest.approx(1.0)


def test_four_by_four_example() -> None:
    assert FOUR_BY_FOUR.mean() == 1.1875
    located = Positioning(strict=True, largest_component=True)(FOUR_BY_FOUR)
    assert located.mask.sum() == 5
    assert float(pool(FOUR_BY_FOUR, located, over="map")) == pytest.approx(0.3125 * 19 / 16)
    plain = Positioning(mask=False, alpha="off")(FOUR_BY_FOUR)
    assert float(pool(FOUR_BY_FOUR, plain, over="map")) == 1.1875


@pytest.mark.parametrize(("theta", "alpha"), [(0.0, 0.3125), (0.25, 0.4844), (0.5, 0.6563)])
def test_theta_counts_in_the_object_ratio(theta: float, alpha: float) -> None:
    assert float(Positioning(theta=theta)(FOUR_BY_FOUR).object_ratio) == pytest.approx(alpha, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "inside", "outside"),
    [
        ({"alpha": "off"}, 1, 0),
        ({"alpha": "off", "theta": 0.25}, 1, 0.25),
        ({"alpha": "area"}, 5 / 16, 0),
        ({"alpha": "area", "theta": 0.5}, 21 / 32, 21 / 64),
        ({"alpha": "soft"}, 1, 11 / 16),
        ({"alpha": "soft", "theta": 0.5}, 1, 43 / 64),
        ({"alpha": 2}, 2, 0),
        ({"alpha": 0.5, "theta": 0.5}, 0.5, 0.25),
        ({"alpha": "off", "mask": False}, 1, 1),
        ({"alpha": "area", "mask": False}, 5 / 16, 5 / 16),
        ({"alpha": "soft", "mask": False}, 1, 1),
        ({"alpha": 0.5, "mask": False}, 0.5, 0.5),
    ],
)
def test_weights_of_every_switch(options: dict[str, Any], inside: float, outside: float) -> None:
    located = Positioning(**options)(FOUR_BY_FOUR)
    above = FOUR_BY_FOUR[0, 0] > 0
    torch.testing.assert_close(located.weights[0, 0][above], torch.full((5,), float(inside)))
    torch.testing.assert_close(located.weights[0, 0][~above], torch.full((11,), float(outside)))


@pytest.mark.parametrize("over", ["map", "mask"])
def test_everything_off_is_the_plain_mean_bit_for_bit(over: Literal["map", "mask"]) -> None:
    features = random_features(height=14, width=14).float()
    located = Positioning(mask=False, alpha="off")(features)
    assert torch.equal(located.weights, torch.ones(4, 1, 14, 14))
    assert torch.equal(pool(features, located, over), features.mean(dim=(2, 3)))


@pytest.mark.parametrize("over", ["map", "mask"])
def test_pool_agrees_with_a_loop(over: Literal["map", "mask"]) -> None:
    features = random_features()
    located = Positioning(theta=0.1)(features)
    pooled = pool(features, located, over)
    for b, image in enumerate(features):
        divisor = 63.0 if over == "map" else float(located.mask[b].sum())
        for c, channel in enumerate(image):
            total = sum(
                float(channel[y, x] * located.object_ratio[b] * located.mask[b, y, x])
                for y in range(9)
                for x in range(7)
            )
            assert float(pooled[b, c]) == pytest.approx(total / divisor)


def test_gradient_is_alpha_over_the_map_inside_and_zero_outside() -> None:
    features = FOUR_BY_FOUR.clone().requires_grad_()
    located = Positioning()(features)
    torch.autograd.backward(pool(features, located, over="map").sum())
    assert not any(part.requires_grad for part in located)
    torch.testing.assert_close(features.grad, (FOUR_BY_FOUR > 0) * (0.3125 / 16))


@pytest.mark.parametrize("over", ["map", "mask"])
def test_gradcheck(over: Literal["map", "mask"]) -> None:
    features = random_features(batch=2, channels=3, height=4, width=5).requires_grad_()
    located = Positioning(alpha="soft")(features)
    assert torch.autograd.gradcheck(lambda f: pool(f, located, over), (features,))


def test_activation_is_the_sum_of_magnitudes_in_float32() -> None:
    features = (random_features(channels=512) - 0.5).bfloat16().requires_grad_()
    activation = activation_map(features)
    assert activation.dtype == torch.float32
    assert not activation.requires_grad
    torch.testing.assert_close(activation, features.detach().double().abs().sum(1).float())


def test_scale_and_order_of_channels_do_not_change_the_mask() -> None:
    features = random_features()
    mask = Positioning()(features).mask
    assert torch.equal(Positioning()(4 * features).mask, mask)
    assert torch.equal(Positioning()(features + 1).mask, mask)
    assert torch.equal(Positioning()(features.flip(1)).mask, mask)
    assert torch.equal(Positioning()(features.flip(3)).mask, mask.flip(2))


def test_bfloat16_is_located_in_float32() -> None:
    features = random_features(channels=512).bfloat16()
    located = Positioning()(features)
    expected = Positioning()(features.float())
    assert all(part.dtype == torch.float32 for part in (located.weights, located.mask, located.object_ratio))
    assert torch.equal(located.mask, expected.mask)
    torch.testing.assert_close(pool(features, located, "map"), pool(features.float(), expected, "map"))


@pytest.mark.parametrize("largest_component", [False, True])
def test_exports_with_any_batch_size(largest_component: bool) -> None:
    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.positioning = Positioning(theta=0.1, largest_component=largest_component, previous_block=True)

        def forward(self, last: Tensor, previous: Tensor) -> Tensor:
            located: Located = self.positioning(last, previous)
            return pool(last, located, over="mask")

    last, previous = random_features(batch=5), random_features(batch=5).flip(0)
    batch = torch.export.Dim("batch")
    program = torch.export.export(Network(), (last[:2], previous[:2]), dynamic_shapes=({0: batch}, {0: batch}))
    torch.testing.assert_close(program.module()(last, previous), Network()(last, previous))


@pytest.mark.slow
@torch.no_grad()
def test_fpcn_with_the_authors_positioning_exports() -> None:
    torch.manual_seed(0)
    network = FPCN(
        3, 160, "test_resnet", pretrained=False, strict_threshold=True, largest_component=True, previous_block=True
    ).eval()
    images = torch.randn(3, 3, 160, 160, generator=torch.Generator().manual_seed(5))
    batch = torch.export.Dim("batch")
    program = torch.export.export(network, (images[:2],), dynamic_shapes={"images": {0: batch}})
    torch.testing.assert_close(program.module()(images), network(images))


@pytest.mark.parametrize("theta", [-0.1, 1.0, math.nan])
def test_theta_out_of_range_is_an_error(theta: float) -> None:
    with pytest.raises(UserError, match=r"model\.theta"):
        Positioning(theta=theta)


@pytest.mark.parametrize("alpha", ["hard", False, True, None, 0, -1.0, math.nan, math.inf])
def test_unknown_alpha_is_an_error(alpha: Any) -> None:
    with pytest.raises(UserError, match=r"model\.alpha"):
        Positioning(alpha=alpha)


def test_previous_block_must_be_given_and_fit() -> None:
    positioning = Positioning(previous_block=True)
    with pytest.raises(ValueError, match="previous_block"):
        positioning(FOUR_BY_FOUR)
    with pytest.raises(ValueError, match="previous_block"):
        positioning(FOUR_BY_FOUR, torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("options", [{}, {"theta": 0.5}, {"mask": False}, {"alpha": "soft"}], ids=str)
def test_located_object_does_not_depend_on_the_switches(options: dict[str, Any]) -> None:
    inside = Positioning(**options)(FOUR_BY_FOUR).inside
    assert torch.equal(inside, FOUR_BY_FOUR[:, 0] > 0)
