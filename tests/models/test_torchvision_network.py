from pathlib import Path

import pytest
import torch
from torchvision import models

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.torchvision_network import TorchvisionNetwork
from fpcn_lightning.profiling import cost


def _published(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"init_weights": True} if name == "googlenet" else {}
    model: torch.nn.Module = models.get_model(name, weights=None, **options)
    return model.eval()


def test_parameters_are_those_of_torchvision_except_for_the_classes() -> None:
    # torchvision documents 61,100,840, 138,357,544 and, without auxiliary classifiers, 6,624,904.
    inputs = {"alexnet": (4096, 61_100_840), "resnet18": (512, 11_689_512)}
    for name, (features, published) in inputs.items():
        network = TorchvisionNetwork(3, 224, name, pretrained=False)
        assert cost.parameters(network) == published - 1000 * (features + 1) + 3 * (features + 1)
        assert network.feature_dim == features


@pytest.mark.parametrize("name", ["alexnet", "googlenet"])
def test_with_torchvisions_last_layer_it_is_torchvisions_network(name: str, tmp_path: Path) -> None:
    published = _published(name)
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    network = TorchvisionNetwork(1000, 96, name, pretrained=False, weights=tmp_path / "weights.pth").eval()
    assert network.weights_source == "file weights.pth"
    last = published.fc if name == "googlenet" else published.get_submodule("classifier.6")
    assert isinstance(last, torch.nn.Linear)
    network.head.load_state_dict(last.state_dict())
    pictures = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), published(pictures))


def test_auxiliary_classifiers_have_weight_three_tenths_in_training_only() -> None:
    network = TorchvisionNetwork(3, 64, "googlenet", pretrained=False)
    pictures, labels = torch.rand(6, 3, 64, 64), torch.tensor([0, 0, 1, 1, 2, 2])
    views = network.views(pictures, labels)
    assert views.weights is not None
    assert views.logits.shape == (18, 3)
    assert views.targets.tolist() == labels.tolist() * 3
    torch.testing.assert_close(views.weights.view(3, 6).sum(1), torch.tensor([1.0, 0.3, 0.3]))
    torch.testing.assert_close(views.logits[:6], views.own_logits)
    assert network.eval().views(pictures, labels).weights is None


def test_normalisation_is_that_of_the_imagenet_weights() -> None:
    assert TorchvisionNetwork(3, 64, "alexnet", pretrained=False).mean == (0.485, 0.456, 0.406)
    assert TorchvisionNetwork(3, 64, "googlenet", pretrained=False).mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("alexnett", 64, "did you mean alexnet"),
        ("fcn_resnet50", 64, "is not a network of torchvision"),
        ("squeezenet1_0", 64, "does not end in one linear layer"),
        ("inception_v3", 96, "does not end in one linear layer"),
        ("alexnet", 32, "too small for alexnet: raise data.crop"),
    ],
)
def test_network_that_cannot_be_built_is_an_error(name: str, size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TorchvisionNetwork(3, size, name, pretrained=False)
