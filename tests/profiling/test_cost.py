import functools
from typing import Any

import pytest
import timm
import torch
from torch import nn

from fpcn_lightning import build
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling import cost
from tests.conftest import config_of

OFFICIAL: dict[str, Any] = {
    "strict_threshold": True,
    "largest_component": True,
    "previous_block": True,
    "gate": "residual",
    "fusion_activation": "none",
    "inference_mode": "unmasked",
}


@functools.cache
def on_paper(name: str, classes: int) -> Any:
    """A network of ResNet-101 at 448 pixels on the meta device: counting needs shapes only."""
    with torch.device("meta"):
        if name == "plain":
            return Plain(classes, 448, "resnet101", pretrained=False)
        return FPCN(classes, 448, "resnet101", pretrained=False, **(OFFICIAL if name == "fpcn_official" else {}))


@pytest.mark.parametrize(("classes", "expected"), [(3, 45_654_595), (200, 46_058_248)])
@pytest.mark.parametrize("name", ["fpcn", "fpcn_official"])
def test_parameters_of_fpcn(name: str, classes: int, expected: int) -> None:
    network = on_paper(name, classes)
    assert cost.parameters(network) == expected
    assert cost.parameters(network.backbone) == 42_500_160
    assert cost.parameters(network.contrast.fusion.reduce) == 2_097_664
    assert cost.parameters(network.contrast.fusion.expand) == 1_050_624
    assert cost.parameters(network.head) == classes * 2049


@pytest.mark.parametrize(("classes", "expected"), [(3, 42_506_307), (200, 42_909_960)])
def test_parameters_of_plain(classes: int, expected: int) -> None:
    assert cost.parameters(on_paper("plain", classes)) == expected


@pytest.mark.parametrize("name", ["plain", "fpcn_official"])
def test_macs_of_the_authors_network_are_those_of_the_plain_one(name: str) -> None:
    assert round(cost.macs(on_paper(name, 200), 448) / 1e6, 2) == 31_197.84


def test_macs_of_the_paper_inference_mode_add_the_fusion() -> None:
    plain, fpcn = cost.macs(on_paper("plain", 3), 448), cost.macs(on_paper("fpcn", 3), 448)
    assert fpcn - plain == 2 * 2048 * 512 + 512 * 2048


def test_macs_of_convolution_and_linear_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 5 * 5, 4)
    )
    assert cost.macs(network, 10) == 5 * 5 * 8 * 3 * 3 * 3 + 8 * 5 * 5 * 4


def test_macs_of_grouped_convolution() -> None:
    assert cost.macs(nn.Conv2d(3, 6, 3, padding=1, groups=3), 4) == 4 * 4 * 6 * 1 * 3 * 3


def test_macs_include_attention() -> None:
    """Both products of attention, queries with keys and weights with values, which a fused kernel would hide."""
    network = Plain(3, 64, "test_vit", pretrained=False)
    model: Any = timm.create_model("test_vit", img_size=64)
    dim, blocks, patches = model.embed_dim, len(model.blocks), (64 // 16) ** 2
    tokens, hidden = patches + 1, model.blocks[0].mlp.fc1.out_features
    linear = tokens * (dim * 3 * dim + dim * dim + 2 * dim * hidden)
    attention = 2 * tokens * tokens * dim
    assert cost.macs(network, 64) == patches * 3 * 16 * 16 * dim + blocks * (linear + attention) + dim * 3


@pytest.mark.parametrize("training", [True, False])
def test_counting_does_not_change_the_network(training: bool) -> None:
    network = Plain(3, 64, "test_resnet", pretrained=False).train(training)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    fused = torch.backends.mha.get_fastpath_enabled()
    cost.macs(network, 64)
    assert network.training is training
    assert torch.backends.mha.get_fastpath_enabled() is fused
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_counting_cleans_up_after_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(5, 2, 1))
    with pytest.raises(RuntimeError):
        cost.macs(network, 8)
    assert network.training
    assert torch.backends.mha.get_fastpath_enabled()


def test_parameters_count_a_shared_one_once() -> None:
    linear = nn.Linear(3, 3)
    assert cost.parameters(nn.Sequential(linear, linear)) == 12


def test_training_a_plain_network_passes_each_image_once() -> None:
    network = Plain(3, 64, "test_resnet", pretrained=False)
    assert cost.training_macs(network, 64, classes=3) == cost.macs(network, 64)


def test_training_macs_count_all_passes_of_a_network() -> None:
    def passes(name: str) -> float:
        network = build.network(config_of(f"model={name}", "trainer=smoke").model, 3, 64)
        return cost.training_macs(network, 64, classes=3) / cost.macs(network.trunk, 64)

    assert 1 <= passes("fpcn") < 1.1
    assert 2 <= passes("pca_net") < 2.2
    # Raw, object, and seven parts at a quarter of the pixels.
    assert passes("mmal_net") == pytest.approx(2 + 7 / 4, rel=0.1)


def test_counting_the_training_changes_neither_the_network_nor_the_random_state() -> None:
    network = FPCN(3, 64, "test_resnet", pretrained=False, **OFFICIAL).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.random.get_rng_state()
    cost.training_macs(network, 64, classes=3)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
