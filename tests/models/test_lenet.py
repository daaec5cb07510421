import pytest
import torch
from torch.nn import functional

from fpcn_lightning.models.lenet import LeNet
from fpcn_lightning.profiling import cost


def test_parameters_are_those_of_its_layers() -> None:
    # Convolutions of 6 and 16 maps, then 120, 84 and the classes; each with its biases.
    expected = (3 * 25 + 1) * 6 + (6 * 25 + 1) * 16 + (16 * 25 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 3
    assert cost.parameters(LeNet(3, 448)) == expected == 61_411


@pytest.mark.parametrize("side", [32, 64, 448])
def test_larger_images_are_reduced_by_averaging(side: int) -> None:
    network = LeNet(3, side)
    picture = torch.rand(2, 3, side, side)
    shrunk = functional.avg_pool2d(picture, side // 32)
    torch.testing.assert_close(network(picture), network(shrunk))


def test_activations_are_bounded_as_tanh_is() -> None:
    features = LeNet(3, 32).views(1e6 * torch.randn(4, 3, 32, 32), torch.zeros(4, dtype=torch.long)).features
    assert features.abs().max() <= 1
