import pytest
import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.plain import Plain


def pictures(count: int = 2, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def plain(backbone: str = "test_resnet", classes: int = 3) -> Plain:
    torch.manual_seed(0)
    return Plain(classes, 64, backbone, pretrained=False)


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
def test_prediction_is_the_linear_layer_on_the_mean_of_the_map(backbone: str) -> None:
    network = plain(backbone).eval()
    maps = network.backbone(pictures()).last
    _, channels, height, width = maps.shape
    for image, logits in enumerate(network(pictures())):
        means = [
            sum(float(maps[image, channel, row, column]) for row in range(height) for column in range(width))
            / (height * width)
            for channel in range(channels)
        ]
        expected = network.head.weight @ torch.tensor(means) + network.head.bias
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_training_and_inference_compute_the_same_logits() -> None:
    network, labels = plain().eval(), torch.tensor([2, 0])
    views = network.views(pictures(), labels)
    assert torch.equal(views.logits, network(pictures()))
    assert views.own_logits is views.logits
    assert views.targets is labels
    assert views.features.shape == (2, network.feature_dim)
    assert views.better is views.worse is views.mask is views.object_ratio is None


def test_gradient_reaches_every_parameter() -> None:
    network = plain()
    network.views(pictures(4), torch.tensor([0, 1, 2, 0])).logits.square().sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def test_there_is_one_inference_mode() -> None:
    network = plain().eval()
    network.choose_inference_mode("plain")
    assert list(network.predict(pictures()).logits) == list(network.inference_modes) == ["plain"]
    with pytest.raises(UserError, match=r"model\.inference_mode=masked is unknown: choose one of plain"):
        network.choose_inference_mode("masked")


def test_trunk_is_all_but_the_head() -> None:
    network = plain(classes=5)
    trunk = {id(parameter) for parameter in network.trunk.parameters()}
    rest = [name for name, parameter in network.named_parameters() if id(parameter) not in trunk]
    assert rest == ["head.weight", "head.bias"]
    assert network.head.out_features == 5


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_export_gives_the_same_prediction(backbone: str) -> None:
    network = plain(backbone).eval()
    exported = torch.export.export(network, (pictures(1),)).module()
    torch.testing.assert_close(exported(pictures(1)), network(pictures(1)))


@pytest.mark.slow
@torch.no_grad()
def test_export_accepts_other_batches_and_sizes() -> None:
    network = plain().eval()
    dynamic = {"images": {0: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}}
    exported = torch.export.export(network, (pictures(2, 64),), dynamic_shapes=dynamic).module()
    torch.testing.assert_close(exported(pictures(3, 96)), network(pictures(3, 96)))
