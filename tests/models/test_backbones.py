from typing import Any, cast

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision import models

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone

SIZE = 64
CONVOLUTIONS = ["test_resnet", "test_convnext", "test_efficientnet", "tf_efficientnet_lite0"]
TOKENS = ["test_vit", "deit_tiny_distilled_patch16_224"]  # one token before the grid, and two
EVERY_LAYOUT = [*CONVOLUTIONS, *TOKENS, "swin_tiny_patch4_window7_224"]
# Modules of torchvision's networks: the pooling, whose input is the last map, or the last convolution.
TORCHVISION_LAST = {"alexnet": "avgpool", "googlenet": "avgpool", "shufflenet_v2_x1_0": "conv5"}


def pictures(count: int = 2, size: int = SIZE) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def random_backbone(name: str, **options: Any) -> Backbone:
    torch.manual_seed(0)
    return Backbone(name, image_size=SIZE, pretrained=False, **options).eval()


def untouched(name: str, **options: Any) -> nn.Module:
    """timm's own model with the weights that `random_backbone` drew."""
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, num_classes=0, **options).eval()
    return model


def features(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return cast(Any, model).forward_features(images)  # type: ignore[no-any-return]


@torch.no_grad()
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutional_maps_equal_those_of_timm(name: str) -> None:
    backbone = random_backbone(name)
    maps = backbone(pictures()).last
    assert torch.equal(maps, features(untouched(name), pictures()))
    assert maps.shape[1] == backbone.channels


@torch.no_grad()
def test_channels_last_maps_are_converted_to_channels_first() -> None:
    name = "swin_tiny_patch4_window7_224"
    backbone = random_backbone(name)
    maps, given = backbone(pictures()).last, features(untouched(name, img_size=SIZE), pictures())
    assert maps.shape == (2, backbone.channels, 2, 2)
    for image in range(2):
        for row in range(2):
            for column in range(2):
                assert torch.equal(maps[image, :, row, column], given[image, row, column])


@torch.no_grad()
@pytest.mark.parametrize("name", TOKENS)
def test_tokens_are_arranged_as_their_grid(name: str) -> None:
    backbone = random_backbone(name)
    original = untouched(name, img_size=SIZE)
    maps, tokens = backbone(pictures()).last, features(original, pictures())
    side = SIZE // 16
    prefix = tokens.shape[1] - side * side
    assert prefix == {"test_vit": 1, "deit_tiny_distilled_patch16_224": 2}[name]
    assert maps.shape == (2, backbone.channels, side, side)
    for place in range(side * side):
        assert torch.equal(maps[:, :, place // side, place % side], tokens[:, prefix + place])


@torch.no_grad()
@pytest.mark.parametrize("name", TORCHVISION_LAST)
def test_torchvision_maps_are_those_before_pooling(name: str) -> None:
    backbone = random_backbone(f"torchvision.{name}")
    torch.manual_seed(0)
    original = models.get_model(name, weights=None, **({"init_weights": True} if name == "googlenet" else {})).eval()
    seen: list[Tensor] = []
    part = original.get_submodule(TORCHVISION_LAST[name])
    if TORCHVISION_LAST[name] == "avgpool":
        part.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    else:
        part.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    original(pictures())
    assert torch.equal(backbone(pictures()).last, seen[0])


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("resnet50", "layer4.1"),
        ("torchvision.resnet50", "layer4.1"),
        ("test_convnext", "stages.3.blocks.0"),
        ("torchvision.googlenet", "inception5a"),
    ],
)
def test_previous_block_is_the_one_before_the_last(name: str, block: str) -> None:
    backbone = random_backbone(name, previous_block=True)
    for parameter in backbone.parameters():
        if parameter.ndim == 1:  # the last norm of a residual branch starts at 0, which makes all blocks equal
            parameter.uniform_(0.5, 1.5)
    seen: list[Tensor] = []
    backbone.model.get_submodule(block).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    maps = backbone(pictures())
    assert maps.previous is not None
    assert torch.equal(maps.previous, seen[0])
    assert not torch.equal(maps.previous, maps.last)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "block"), [("swin_tiny_patch4_window7_224", "layers.3.blocks.0"), ("test_vit", "blocks.4")]
)
def test_previous_block_of_a_transformer_has_the_layout_of_the_last(name: str, block: str) -> None:
    backbone = random_backbone(name, previous_block=True)
    seen: list[Tensor] = []
    backbone.model.get_submodule(block).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    previous = backbone(pictures()).previous
    given = seen[0] if seen[0].ndim == 4 else seen[0][:, 1:].reshape(2, SIZE // 16, SIZE // 16, -1)
    assert torch.equal(previous.permute(0, 2, 3, 1), given)


@torch.no_grad()
def test_larger_previous_block_is_average_pooled() -> None:
    backbone = random_backbone("test_resnet", previous_block=True)
    seen: list[Tensor] = []
    backbone.model.get_submodule("layer3.0").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    maps = backbone(pictures())
    assert maps.previous is not None
    assert seen[0].shape[-1] == 2 * maps.last.shape[-1]
    for row in range(maps.last.shape[2]):
        for column in range(maps.last.shape[3]):
            window = seen[0][:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            torch.testing.assert_close(maps.previous[:, :, row, column], window.mean((2, 3)))


def test_previous_block_changes_nothing_else() -> None:
    without, with_previous = random_backbone("test_resnet"), random_backbone("test_resnet", previous_block=True)
    assert without(pictures()).previous is None
    assert torch.equal(without(pictures()).last, with_previous(pictures()).last)


def test_missing_previous_block_is_an_error() -> None:
    with pytest.raises(UserError, match="previous_block=false"):
        random_backbone("torchvision.alexnet", previous_block=True)


@pytest.mark.parametrize(
    "name",
    [
        *EVERY_LAYOUT,
        *(f"torchvision.{name}" for name in TORCHVISION_LAST),
        "vit_small_patch16_rope_mixed_224",  # trains rotary angles in a part that is used without being called
        "mobilenetv3_small_100",  # its classifier has a convolution
    ],
)
def test_every_remaining_parameter_gets_a_gradient(name: str) -> None:
    backbone = random_backbone(name).train()
    backbone(pictures()).last.square().sum().backward()
    assert not [name for name, parameter in backbone.named_parameters() if parameter.grad is None]


def test_inspection_changes_no_state() -> None:
    backbone, original = random_backbone("test_resnet"), untouched("test_resnet")
    state = backbone.model.state_dict()
    assert state.keys() == original.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in original.state_dict().items())
    assert all(parameter.grad is None for parameter in backbone.parameters())
    assert not any(module._forward_hooks for module in backbone.modules())
    assert Backbone("test_resnet", image_size=SIZE, pretrained=False).model.training


def test_backbone_built_under_no_grad_is_the_same() -> None:
    with torch.no_grad():
        quiet = random_backbone("mobilenetv3_small_100")
    usual = random_backbone("mobilenetv3_small_100")
    assert quiet.state_dict().keys() == usual.state_dict().keys()


def test_hook_is_removed_after_an_error() -> None:
    backbone = random_backbone("test_resnet", previous_block=True)
    with pytest.raises(RuntimeError):
        backbone(torch.zeros(1, 5, SIZE, SIZE))
    assert not any(module._forward_hooks for module in backbone.modules())


@pytest.mark.parametrize("size", [33, 96])
def test_convolutional_backbones_accept_any_size(size: int) -> None:
    maps = random_backbone("test_resnet", previous_block=True)(pictures(1, size))
    assert maps.previous is not None
    assert maps.last.shape[-2:] == maps.previous.shape[-2:]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet_50", "resnet50"),
        ("torchvision.alexnett", "alexnet"),
        ("resnet18.tv_in1", "resnet18.tv_in1k"),
        ("torchvision.vit_b_16", "is not a convolutional network"),
        ("", "is not a timm model"),
    ],
)
def test_error_of_an_unknown_name_says_what_to_do(name: str, hint: str) -> None:
    with pytest.raises(UserError, match=hint) as caught:
        random_backbone(name)
    assert f"model.backbone={name} " in str(caught.value)


@pytest.mark.parametrize("name", ["mixer_s32_224", "coat_tiny"])
def test_model_without_maps_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match="choose another"):
        random_backbone(name)


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("resnet18", IMAGENET_MEAN, IMAGENET_STD),
        ("mobilevit_xxs", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ("torchvision.shufflenet_v2_x1_0", IMAGENET_MEAN, IMAGENET_STD),
    ],
)
def test_normalisation_is_that_of_the_weights(
    name: str, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    backbone = random_backbone(name)
    assert (backbone.mean, backbone.std) == (mean, std)


@torch.no_grad()
def test_googlenet_with_weights_is_normalised_as_its_own_transform_does(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    original = models.googlenet(weights=None, init_weights=True, transform_input=True).eval()
    state = original.state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_args, **_options: dict(state))
    backbone = Backbone("torchvision.googlenet", image_size=SIZE, pretrained=True).eval()
    seen: list[Tensor] = []
    original.avgpool.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    raw = pictures().sigmoid()  # in 0..1, as images are

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (raw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    original(normalised(IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(backbone(normalised(backbone.mean, backbone.std)).last, seen[0])
    assert "downloaded" in backbone.weights_source


def test_source_of_random_weights_is_reported() -> None:
    assert random_backbone("test_resnet").weights_source == "random"
