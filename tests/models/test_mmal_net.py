import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.backbones import Backbone, FeatureMaps
from fpcn_lightning.models.mmal_net import MMALNet
from fpcn_lightning.models.windows import WindowSet
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.profiling import cost
from tests.conftest import classifier_of, config_of

SHAPES = [
    [(4, 4), (3, 5), (5, 3)],
    [(6, 6), (5, 7), (7, 5)],
    [(8, 8), (6, 10), (10, 6), (7, 9), (9, 7), (7, 10), (10, 7)],
]
KEPT = [2, 3, 2]


def mmal_net(size: int = 64, backbone: str = "test_resnet", **options: Any) -> MMALNet:
    torch.manual_seed(0)
    return MMALNet(3, size, backbone, pretrained=False, **options)


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def labels_of(count: int) -> Tensor:
    return torch.arange(count) % 3


class FixedMaps(Backbone):
    """Replaces a backbone: a constant map of the size that belongs to the image."""

    def __init__(self, value: float) -> None:
        nn.Module.__init__(self)
        self.value = value

    def forward(self, images: Tensor) -> FeatureMaps:
        maps = torch.full((len(images), 96, images.shape[2] // 32, images.shape[3] // 32), self.value)
        return FeatureMaps(maps, maps)


class Seen:
    """The images of each pass through the backbone."""

    def __init__(self, network: MMALNet) -> None:
        self.passes: list[Tensor] = []
        network.backbone.register_forward_pre_hook(lambda _module, inputs: self.passes.append(inputs[0]))


# --- against the published procedure, picture by picture ------------------------------------------------------------


def located(last: Tensor, previous: Tensor) -> list[int]:
    """Inclusive pixels of the object in one picture of 448 px with maps [C, 14, 14]."""
    masks = [maps.sum(0).numpy() > maps.sum(0).numpy().mean() for maps in (last, previous)]
    labels, _ = ndimage.label(masks[0], structure=np.ones((3, 3)))
    component = labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    rows, columns = np.nonzero(component & masks[1])
    if len(rows) == 0:
        return [0, 0, 447, 447]
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return [max(0, int(32 * top) - 1), max(0, int(32 * left) - 1), int(32 * bottom) - 1, int(32 * right) - 1]


def cut(image: Tensor, box: list[int], size: int) -> Tensor:
    crop = image[None, :, box[0] : box[2] + 1, box[1] : box[3] + 1]
    return nn.functional.interpolate(crop, (size, size), mode="bilinear", align_corners=True)


def shared(one: list[int], other: list[int]) -> float:
    area = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    sides = [min(one[end], other[end]) - max(one[end - 2], other[end - 2]) + 1 for end in (2, 3)]
    inner = max(0, sides[0]) * max(0, sides[1])
    return inner / (sum(area) - inner)


def part_boxes(maps: Tensor) -> list[list[int]]:
    chosen = []
    for shapes, kept in zip(SHAPES, KEPT, strict=True):
        windows = []
        for height, width in shapes:
            for row in range(15 - height):
                for column in range(15 - width):
                    score = float(maps[:, row : row + height, column : column + width].mean((1, 2)).sum())
                    box = [max(0, 32 * row - 1), max(0, 32 * column - 1)]
                    windows.append((score, [*box, 32 * (row + height) - 1, 32 * (column + width) - 1]))
        windows.sort(key=lambda window: -window[0])
        picks: list[list[int]] = []
        for _, box in windows:
            if len(picks) < kept and all(shared(box, pick) <= 0.25 for pick in picks):
                picks.append(box)
        chosen += picks + [picks[-1]] * (kept - len(picks))
    return chosen


@torch.no_grad()
def test_views_and_predictions_agree_with_a_loop_over_images() -> None:
    network, images, labels = mmal_net(448).eval(), pictures(3, 448), torch.tensor([2, 0, 1])
    raw, objects, parts, boxes = [], [], [], []
    for image in images:
        maps = network.backbone(image[None])
        boxes.append(located(maps.last[0], maps.previous[0]))
        raw.append(network.head(maps.last.mean((2, 3))))
        object_image = cut(image, boxes[-1], 448)
        object_maps = network.backbone(object_image).last
        objects.append(network.head(object_maps.mean((2, 3))))
        for box in part_boxes(object_maps[0]):
            parts.append(network.head(network.backbone(cut(object_image[0], box, 224)).last.mean((2, 3))))
    assert len({tuple(box) for box in boxes}) > 1
    seen = Seen(network)
    views = network.views(images, labels)
    assert [tuple(images.shape) for images in seen.passes] == [(3, 3, 448, 448)] * 2 + [(21, 3, 224, 224)]
    torch.testing.assert_close(views.logits, torch.cat([*raw, *objects, *parts]), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(views.own_logits, torch.cat(raw))
    assert views.targets.tolist() == [2, 0, 1, 2, 0, 1, *[2] * 7, *[0] * 7, *[1] * 7]
    predictions = network.predict(images).logits
    torch.testing.assert_close(predictions["raw"], torch.cat(raw))
    torch.testing.assert_close(predictions["object"], torch.cat(objects), rtol=1e-3, atol=1e-4)


def test_mask_is_the_located_object() -> None:
    network = mmal_net(160).eval()
    images = pictures(3, 160)
    views, predictions = network.views(images, labels_of(3)), network.predict(images)
    maps = network.backbone(images)
    inside = network.positioning(maps.last, maps.previous).inside
    torch.testing.assert_close(views.mask, inside.float())
    torch.testing.assert_close(predictions.mask, inside)
    for ratio in (views.object_ratio, predictions.object_ratio):
        torch.testing.assert_close(ratio, inside.float().mean((1, 2)))


@pytest.mark.parametrize(("windows", "parts"), [("cub", 7), ("cars", 6)])
def test_every_branch_has_its_own_mean(windows: WindowSet, parts: int) -> None:
    network = mmal_net(windows=windows)
    views = network.views(pictures(4), labels_of(4))
    assert len(views.logits) == 4 + 4 + 4 * parts
    assert views.weights is not None
    losses = nn.functional.cross_entropy(views.logits, views.targets, reduction="none")
    expected = losses[:4].mean() + losses[4:8].mean() + losses[8:].mean()
    torch.testing.assert_close((views.weights * losses).sum(), expected)


# --- the epochs of the raw branch -----------------------------------------------------------------------------------


def gradients(network: MMALNet, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters())))


def test_first_epoch_trains_the_raw_branch_alone() -> None:
    images, labels = pictures(6), labels_of(6)
    network = mmal_net(dropout=0.0)
    network.begin_epoch(0)
    seen = Seen(network)
    views = network.views(images, labels)
    assert len(seen.passes) == 1
    assert views.weights is None
    assert torch.equal(views.logits, views.own_logits)
    found = gradients(network, nn.functional.cross_entropy(views.logits, views.targets))
    logits = network.head(network.backbone(images).last.mean((2, 3)))
    for mine, expected in zip(found, gradients(network, nn.functional.cross_entropy(logits, labels)), strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize(("raw_epochs", "passes"), [(0, [3, 3, 3]), (1, [1, 3, 3]), (2, [1, 1, 3])])
def test_all_branches_train_afterwards(raw_epochs: int, passes: list[int]) -> None:
    network = mmal_net(raw_epochs=raw_epochs)
    found = []
    for epoch in range(3):
        network.begin_epoch(epoch)
        seen = Seen(network)
        network.views(pictures(3), labels_of(3))
        found.append(len(seen.passes))
    assert found == passes


def test_boxes_carry_no_gradient() -> None:
    """The maps of a branch learn from its own logits alone, although they determine the input of the next branch."""
    network = mmal_net(160).eval()
    kept: list[Tensor] = []
    network.backbone.register_forward_hook(lambda _module, _inputs, maps: kept.append(maps.last))
    logits = network.views(pictures(1, 160), labels_of(1)).logits
    for branch, own in enumerate((logits[:1], logits[1:2], logits[2:])):
        reached = torch.autograd.grad(own.sum(), kept, retain_graph=True)
        assert [bool(each.any()) for each in reached] == [branch == other for other in range(3)]


# --- gradients and learning -----------------------------------------------------------------------------------------


def classifier() -> Classifier:
    return classifier_of(config_of("model=mmal_net", "trainer=smoke", "training.channels_last=false"))


def batch() -> Batch:
    """Smooth images, similar as a whole and enlarged, so that the branches' running statistics agree."""
    colours = torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    images = nn.functional.interpolate(255 * colours, (64, 64), mode="bilinear").to(torch.uint8)
    return Batch(images, labels_of(12), torch.arange(12))


@pytest.mark.parametrize("epoch", [0, 1])
def test_gradient_reaches_every_parameter(epoch: int) -> None:
    network = mmal_net(dropout=0.0)
    network.begin_epoch(epoch)
    with torch.no_grad():
        for parameter in network.parameters():  # a parameter of 0 would stop the gradient of the layers before it
            parameter.add_(0.05 * torch.randn_like(parameter))
    views = network.views(pictures(12), labels_of(12))
    nn.functional.cross_entropy(views.logits, views.targets).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*self.log.*")
def test_overfits_twelve_images() -> None:
    module, given = classifier(), batch()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for step in range(80):
        module.network.begin_epoch(step // 5)
        module.on_train_batch_start(given, step)
        loss = module.training_step(given, step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[5] > 2 * losses[4] > 0  # from here on three branches are trained
    assert losses[-1] < 0.5 * losses[5]
    module.eval()
    with torch.no_grad():
        for inference_mode, logits in module.network.predict(module.normalised(given.images)).logits.items():
            assert logits.argmax(1).tolist() == given.labels.tolist(), inference_mode


# --- inference ------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_forward_uses_the_configured_inference_mode() -> None:
    network = mmal_net(160).eval()
    predictions = network.predict(pictures(2, 160)).logits
    assert tuple(predictions) == network.inference_modes
    assert not torch.allclose(predictions["object"], predictions["raw"])
    for inference_mode, passes in (("object", 2), ("raw", 1)):
        network.choose_inference_mode(inference_mode)
        seen = Seen(network)
        torch.testing.assert_close(network(pictures(2, 160)), predictions[inference_mode])
        assert len(seen.passes) == passes


@torch.no_grad()
@pytest.mark.parametrize("size", [32, 50, 96, 160])
def test_images_of_any_size_are_accepted(size: int) -> None:
    network = mmal_net().eval()
    for count in (1, 2):
        views = network.views(pictures(count, size), labels_of(count))
        assert views.logits.shape == (9 * count, 3)
        assert views.logits.isfinite().all()
        assert network(pictures(count, size)).shape == (count, 3)


@torch.no_grad()
def test_backbone_of_fixed_size_gets_parts_of_that_size() -> None:
    network = mmal_net(backbone="test_vit").eval()
    assert network.fixed_size
    seen = Seen(network)
    network.views(pictures(2), labels_of(2))
    assert [tuple(images.shape) for images in seen.passes] == [(2, 3, 64, 64)] * 2 + [(14, 3, 64, 64)]


@torch.no_grad()
@pytest.mark.parametrize("value", [0.0, 0.1, math.nan])
def test_constant_or_infinite_map_gives_the_whole_image(value: float) -> None:
    network = mmal_net().eval()
    network.backbone = FixedMaps(value)
    seen = Seen(network)
    views = network.views(pictures(2), labels_of(2))
    assert views.mask is not None
    assert views.mask.eq(1).all()
    torch.testing.assert_close(seen.passes[1], pictures(2), rtol=0, atol=1e-4)
    assert network(pictures(2)).isfinite().all() == (not math.isnan(value))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_export_gives_the_same_predictions_for_any_batch_size(backbone: str) -> None:
    network = mmal_net(160, backbone).eval()
    dynamic = {"images": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(network, (pictures(2, 160),), dynamic_shapes=dynamic).module()
    for count in (1, 3):
        torch.testing.assert_close(exported(pictures(count, 160)), network(pictures(count, 160)))


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "parameters"), [(3, 23_514_179), (200, 23_917_832)])
def test_parameters_have_the_published_number(classes: int, parameters: int) -> None:
    with torch.device("meta"):
        assert cost.parameters(MMALNet(classes, 448, "resnet50", pretrained=False)) == parameters


@pytest.mark.slow
@pytest.mark.parametrize(("windows", "training"), [("cub", 61_307e6), ("cars", 57_220e6)])
def test_macs_of_the_passes_have_the_published_number(windows: WindowSet, training: float) -> None:
    with torch.device("meta"):
        network = MMALNet(3, 448, "resnet50", pretrained=False, windows=windows)
        assert cost.macs(network, 448) == pytest.approx(32_697e6, rel=1e-4)
        assert cost.training_macs(network, 448, classes=3) == pytest.approx(training, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": "birds"}, r"model\.windows=birds is unknown"),
        ({"inference_mode": "parts"}, r"model\.inference_mode=parts is unknown"),
        ({"raw_epochs": -1}, r"model\.raw_epochs=-1"),
    ],
)
def test_error_of_an_unknown_choice_names_the_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        mmal_net(**options)


def test_authors_recipe_has_their_numbers() -> None:
    config = config_of("model=mmal_net", "recipe=mmal_net_authors", "data.crop=448")
    assert config.model == config_of("model=mmal_net").model
    assert (config.data.resize, config.data.crop) == (448, 448)
    assert [config.optimizer[key] for key in ("lr", "momentum", "weight_decay")] == [1e-3, 0.9, 1e-4]
    scheduler = config.lr_scheduler.scheduler or {}
    assert (scheduler["_target_"].rpartition(".")[2], scheduler["milestones"]) == ("MultiStepLR", [60, 100])
    assert (config.trainer["max_epochs"], config.variant) == (200, "mmal_net-mmal_net_authors")
