import math
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.models.bilinear_cnn import BilinearCNN
from fpcn_lightning.profiling import cost
from tests.conftest import classifier_of, config_of


def bilinear_cnn(size: int = 64, backbone: str = "test_resnet", classes: int = 3) -> BilinearCNN:
    torch.manual_seed(0)
    return BilinearCNN(classes, size, backbone, pretrained=False)


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def labels_of(count: int) -> Tensor:
    return torch.arange(count) % 3


@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_resnet", "torchvision.alexnet"])
def test_predictions_agree_with_a_loop_over_images(backbone: str) -> None:
    network = bilinear_cnn(96, backbone).eval()
    images = pictures(2, 96)
    maps = network.backbone(images).last
    views = network.views(images, labels_of(2))
    for image, logits, seen in zip(maps.double(), network(images), views.logits, strict=True):
        columns = image.flatten(1)
        total = sum(torch.outer(column, column) for column in columns.T) / columns.shape[1]
        assert isinstance(total, Tensor)
        rooted = (total.abs() + 1e-5).sqrt() * torch.where(total < 0, -1, 1)
        vector = (rooted / rooted.norm()).flatten().float()
        expected = network.head.weight @ vector + network.head.bias
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(seen, logits)
    assert network.feature_dim == maps.shape[1] ** 2 == views.features.shape[1]
    torch.testing.assert_close(views.features.norm(dim=1), torch.ones(2), rtol=0, atol=1e-4)
    assert torch.equal(views.logits, views.own_logits)


# --- the map before the last pooling --------------------------------------------------------------------------------


@pytest.mark.slow
@torch.no_grad()
def test_map_of_vgg_is_that_of_its_last_convolution() -> None:
    network = bilinear_cnn(64, "torchvision.vgg16").eval()
    torch.manual_seed(0)
    original = list(models.vgg16(weights=None).features.eval())
    assert isinstance(original.pop(), nn.MaxPool2d)
    maps = network.backbone(pictures(1)).last
    assert maps.shape == (1, 512, 4, 4)
    torch.testing.assert_close(maps, nn.Sequential(*original)(pictures(1)))


@pytest.mark.parametrize(
    ("backbone", "channels", "side"),
    [
        ("torchvision.vgg16", 512, 28),
        ("vgg16", 512, 28),
        ("torchvision.alexnet", 256, 27),
        ("resnet50", 2048, 14),
        ("torchvision.googlenet", 1024, 14),
    ],
)
def test_map_at_the_published_size(backbone: str, channels: int, side: int) -> None:
    with torch.device("meta"):
        network = bilinear_cnn(448, backbone)
        assert network.backbone(torch.zeros(2, 3, 448, 448)).last.shape == (2, channels, side, side)
    assert network.feature_dim == channels**2


@torch.no_grad()
def test_intermediate_poolings_are_kept() -> None:
    torch.manual_seed(0)
    original: Any = timm.create_model("resnet18", num_classes=0).eval()
    network = bilinear_cnn(64, "resnet18").eval()
    torch.testing.assert_close(network.backbone(pictures(1)).last, original.forward_features(pictures(1)))


# --- gradients and learning -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["test_resnet", "torchvision.vgg11"])
def test_gradient_reaches_every_parameter(backbone: str) -> None:
    network = bilinear_cnn(64, backbone)
    with torch.no_grad():
        for parameter in network.parameters():  # a parameter of 0 would stop the gradient of the layers before it
            parameter.add_(0.01 * torch.randn_like(parameter))
    views = network.views(pictures(6), labels_of(6))
    nn.functional.cross_entropy(views.logits, views.targets).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_linear_layer_is_initialised_as_in_the_authors_code() -> None:
    head = bilinear_cnn(64).head
    assert head.weight.std().item() == pytest.approx(math.sqrt(2 / head.in_features), rel=0.05)
    assert not head.bias.any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*self.log.*")
def test_overfits_twelve_images() -> None:
    module = classifier_of(config_of("model=bilinear_cnn", "trainer=smoke", "training.channels_last=false"))
    images = torch.randint(0, 256, (12, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    given = Batch(images, labels_of(12), torch.arange(12))
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(60):
        loss = module.training_step(given, step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(3), abs=0.1)
    assert losses[-1] < 0.1 * losses[0]
    module.eval()
    with torch.no_grad():
        assert module(images).argmax(1).tolist() == given.labels.tolist()


# --- inference ------------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 50, 96, 160])
def test_images_of_any_size_are_accepted(size: int) -> None:
    network = bilinear_cnn().eval()
    for count in (1, 2):
        assert network(pictures(count, size)).shape == (count, 3)


@torch.no_grad()
def test_black_images_and_zero_maps_give_finite_predictions() -> None:
    network = bilinear_cnn(64, "torchvision.vgg11").eval()
    for parameter in network.backbone.parameters():
        parameter.zero_()
    views = network.views(torch.zeros(2, 3, 64, 64), labels_of(2))
    torch.testing.assert_close(views.features, torch.full((2, 512**2), 1 / 512))
    assert views.logits.isfinite().all()


@pytest.mark.slow
@torch.no_grad()
def test_export_gives_the_same_predictions_for_any_batch_size() -> None:
    network = bilinear_cnn().eval()
    dynamic = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(network, (pictures(2),), dynamic_shapes=dynamic).module()
    for count in (1, 3):
        torch.testing.assert_close(exported(pictures(count)), network(pictures(count)))


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "parameters"), [(3, 15_501_123), (200, 67_143_688)])
def test_parameters_have_the_published_number(classes: int, parameters: int) -> None:
    with torch.device("meta"):
        network = bilinear_cnn(448, "torchvision.vgg16", classes)
    assert cost.parameters(network) == parameters
    assert cost.parameters(network.trunk) == 14_714_688


@pytest.mark.slow
def test_macs_have_the_published_number() -> None:
    network = bilinear_cnn(448, "torchvision.vgg16", classes=200)
    assert cost.macs(network, 448) == pytest.approx((61_386.5 + 205.5 + 52.4) * 1e6, rel=1e-5)


def test_shared_recipe_trains_the_linear_layer() -> None:
    """At a rate of 0.01 its loss stays at ln 3: the entries of a vector of length 1 are small."""
    config = config_of("model=bilinear_cnn")
    assert config.training.head_lr_factor is None
    assert config.optimizer["lr"] * BilinearCNN.head_lr_factor == 1.0


def test_authors_recipe_has_two_steps() -> None:
    config = config_of("model=bilinear_cnn", "recipe=bilinear_cnn_authors", "data.crop=448")
    assert config.model == config_of("model=bilinear_cnn").model
    assert config.training == TrainingConfig(
        freeze_epochs=55, frozen_lr=1.0, frozen_weight_decay=1e-8, unfreeze_from_best=True, head_lr_factor=1.0
    )
    assert [config.optimizer[key] for key in ("lr", "weight_decay", "momentum")] == [1e-2, 1e-5, 0.9]
    scheduler = config.lr_scheduler.scheduler or {}
    assert scheduler["_target_"].rpartition(".")[2] == "ReduceLROnPlateau"
    assert (scheduler["factor"], scheduler["patience"]) == (0.1, 3)
    assert config.trainer["max_epochs"] == 55 + 25
    assert (config.data.resize, config.data.samples_per_class) == (448, 21)
