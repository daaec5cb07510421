"""Which of the costs in the paper's Table 4 reproduce: its students with both of their linear layers, at 448 pixels."""

import functools
from typing import NamedTuple

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from fpcn_lightning.models.backbones import TORCHVISION
from fpcn_lightning.profiling import cost
from tests.conftest import config_of

SIZE = 448


class Costs(NamedTuple):
    """All in millions; `operations` are what pytorch-OpCounter takes for multiply-accumulates."""

    parameters: float
    macs: float
    operations: float


@functools.cache
def costs(name: str) -> Costs:
    """Of the backbone of `model=NAME`, or of a name of torchvision, with its 1000-way head and Linear(1000, 200)."""
    network = as_in_the_paper(name)
    macs = cost.macs(network, SIZE)
    return Costs(cost.parameters(network) / 1e6, macs / 1e6, (macs + added_by_opcounter(network)) / 1e6)


def as_in_the_paper(name: str) -> nn.Module:
    """A network on the meta device: counting needs shapes only."""
    if not name.startswith(TORCHVISION):
        name = config_of(f"model={name}").model["backbone"]
    with torch.device("meta"):
        if name.startswith(TORCHVISION):
            network = models.get_model(name.removeprefix(TORCHVISION), weights=None)
        else:
            network = timm.create_model(name, pretrained=False)
        return nn.Sequential(network, nn.Linear(1000, 200))


def added_by_opcounter(network: nn.Module) -> int:
    """4 operations for each normalised element; for each output of pooling the size of its window, plus 1."""
    added = 0

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal added
        if isinstance(module, nn.BatchNorm2d):
            added += 4 * output.numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            added += inputs[0].numel() + output.numel()

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, SIZE, SIZE, device="meta"))
    return added


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", Costs(11.889712, 7254.96, 7294.80)),
        ("resnet34", Costs(21.997872, 14653.71, 14713.62)),
        ("resnet50", Costs(25.757232, 16350.79, 16529.02)),
        ("mobilenetv1", Costs(4.432176, 2272.09, 2352.97)),
        ("mobilenetv2", Costs(3.705072, 1199.46, 1306.56)),
        ("shufflenetv2", Costs(2.478804, 576.76, 607.96)),
        ("torchvision.shufflenet_v2_x0_5", Costs(1.566992, 159.03, 175.42)),
        ("torchvision.shufflenet_v2_x1_5", Costs(3.703824, 1180.17, 1224.45)),
        ("torchvision.shufflenet_v2_x2_0", Costs(7.594196, 2327.07, 2386.97)),
    ],
)
def test_costs_of_the_students(name: str, expected: Costs) -> None:
    found = costs(name)
    assert found.parameters == expected.parameters
    assert (round(found.macs, 2), round(found.operations, 2)) == expected[1:]


@pytest.mark.parametrize(
    ("name", "parameters", "mflops"),
    [("resnet18", 11.89, 7294), ("resnet34", 22.00, 14713), ("resnet50", 25.76, 16529)],
)
def test_the_papers_costs_of_residual_networks_reproduce(name: str, parameters: float, mflops: int) -> None:
    found = costs(name)
    assert round(found.parameters, 2) == parameters
    assert int(found.operations) == mflops
    assert found.macs == pytest.approx(mflops, rel=0.011)
    assert found.macs != pytest.approx(mflops, rel=0.003)


@pytest.mark.parametrize(
    ("name", "parameters", "mflops"),
    [
        ("mobilenetv1", 4.2, 1080),
        ("mobilenetv2", 3.4, 1080),
        ("shufflenetv2", 3.4, 947),
        ("torchvision.shufflenet_v2_x0_5", 3.4, 947),
        ("torchvision.shufflenet_v2_x1_5", 3.4, 947),
        ("torchvision.shufflenet_v2_x2_0", 3.4, 947),
    ],
)
def test_the_papers_costs_of_mobile_networks_do_not(name: str, parameters: float, mflops: int) -> None:
    found = costs(name)
    assert found.parameters != pytest.approx(parameters, rel=0.05)
    assert found.macs != pytest.approx(mflops, rel=0.1)
    assert found.operations != pytest.approx(mflops, rel=0.1)
