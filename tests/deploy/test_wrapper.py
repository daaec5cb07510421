from typing import Any

import pytest
import torch
from torch import Tensor

from fpcn_lightning.deploy.wrapper import OUTPUTS, DeployedNetwork
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.lenet import LeNet
from fpcn_lightning.models.plain import Plain
from tests.conftest import classifier_of, config_of


def pictures(count: int = 3, size: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randint(0, 256, (count, size, size, 3), generator=generator).to(torch.uint8)


def plain() -> Plain:
    torch.manual_seed(0)
    return Plain(4, 64, "test_resnet", pretrained=False)


def fpcn(**options: Any) -> FPCN:
    torch.manual_seed(0)
    return FPCN(4, 64, "test_resnet", pretrained=False, **options)


@torch.no_grad()
def test_bytes_are_prepared_as_in_training() -> None:
    module = classifier_of(config_of("model=plain", "trainer=smoke")).eval()
    expected = module.normalised(pictures().permute(0, 3, 1, 2))
    torch.testing.assert_close(
        DeployedNetwork(module.network, 64).normalised(pictures()), expected, rtol=1e-5, atol=1e-6
    )


@torch.no_grad()
def test_predictions_are_calibrated_and_the_score_is_the_distance() -> None:
    deployed = DeployedNetwork(plain(), 64)
    deployed.distance.fit(deployed.statistics(pictures(20)))
    deployed.temperature = 0.5
    logits, score = deployed.logits_and_score(pictures())
    outputs = deployed(pictures())
    torch.testing.assert_close(outputs[0], (2 * logits).softmax(1))
    torch.testing.assert_close(outputs[1], score)
    assert torch.equal(logits, deployed.logits(pictures()))


EXPLAINED: dict[str, dict[str, Any]] = {
    "unmasked": {"inference_mode": "unmasked"},
    "masked, trained on pairs": {"inference_mode": "masked", "theta": 0.2},
    "mean, trained on pairs": {"inference_mode": "mean", "alpha": "area", "pool_over": "map"},
    "mask": {"contrast": False},
    "map": {"contrast": False, "pool_over": "map", "alpha": "soft"},
    "nothing": {"contrast": False, "pool_over": "nothing", "theta": 0.3},
    "gate": {"theta": 0.1},
    "gate, equation 5": {"alpha": "area", "pool_over": "map", "open_gate": False},
    "residual gate": {"gate": "residual", "largest_component": True, "mask_kind": "hard"},
}


@torch.no_grad()
@pytest.mark.parametrize("name", ["plain", *EXPLAINED])
def test_the_activation_map_sums_up_to_the_prediction(name: str) -> None:
    network = plain() if name == "plain" else fpcn(**EXPLAINED[name])
    deployed = DeployedNetwork(network, 64)
    logits = deployed.logits(pictures())
    maps = deployed(pictures())[2]
    assert maps.shape[:2] == (3, 4)
    assert min(maps.shape[2:]) > 1
    torch.testing.assert_close(maps.sum((2, 3)) + network.head.bias, logits, rtol=1e-4, atol=1e-5)
    explained = network.explained(deployed.normalised(pictures()))
    assert explained is not None
    assert torch.equal(explained.logits, logits)


@torch.no_grad()
def test_a_gate_is_part_of_the_activation_map() -> None:
    network = fpcn()
    gated = DeployedNetwork(network, 64)(pictures())[2]
    assert network.contrast is not None
    network.contrast.fusion.expand.bias.fill_(0)  # most channels are then almost closed
    network.contrast.fusion.expand.bias[0] = 1
    assert not torch.allclose(DeployedNetwork(network, 64)(pictures())[2], gated)


@torch.no_grad()
@pytest.mark.parametrize("inference_mode", FPCN.inference_modes)
def test_the_object_mask_is_the_located_object(inference_mode: str) -> None:
    network = fpcn(inference_mode=inference_mode)
    deployed = DeployedNetwork(network, 64)
    mask = deployed(pictures())[OUTPUTS.index("object_mask")]
    assert mask.dtype == torch.float32
    located = network.predict(deployed.normalised(pictures())).mask
    assert located is not None
    assert torch.equal(mask, located.float())
    assert 0 < mask.mean() < 1


@torch.no_grad()
def test_a_network_trained_without_mask_locates_nothing() -> None:
    assert len(DeployedNetwork(fpcn(mask=False), 64)(pictures())) == len(DeployedNetwork(plain(), 64)(pictures())) == 3


@torch.no_grad()
def test_without_a_feature_map_there_is_no_activation_map() -> None:
    assert len(DeployedNetwork(LeNet(4, 64), 64)(pictures())) == 2
