"""Heat maps of networks whose predictions are known, because their last feature map is."""

import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import ScoreCAM
from pytorch_grad_cam.base_cam import BaseCAM
from torch import Tensor, nn

from fpcn_lightning.callbacks.panels import Panels
from fpcn_lightning.errors import UserError
from fpcn_lightning.explain.measures import energy_inside, pointing_game
from fpcn_lightning.explain.methods import METHODS, HeatMapMethod, activation_map, heat_maps
from fpcn_lightning.explain.panels import PanelInput, panels_of
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models import positioning
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.lenet import LeNet
from fpcn_lightning.models.majority import Majority
from fpcn_lightning.models.mmal_net import MMALNet
from fpcn_lightning.models.network import Network, NetworkOutput, average
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.models.torchvision_network import TorchvisionNetwork

Quarter = tuple[int, int] | None  # row and column
FIRST, SECOND = (0, 1), (1, 0)  # off the diagonal: a rotated or mirrored map would show the other class
SIZE, CELLS, CODES = 128, 4, 6  # pixels, cells in a row of the last map, channels of the known map
# Of each architecture: the last part of it, and the axis of its channels.
ARCHITECTURES = {
    "resnet18": ("layer4", 1),
    "mobilenetv2_100": ("bn2", 1),
    "tf_efficientnet_lite0": ("bn2", 1),
    "swin_tiny_patch4_window7_224": ("norm", 3),
}


class Coded(nn.Module):
    """The last part of a backbone, its channels mixed into a few that are known; `mix` is [C + 1, CODES]."""

    seen: Tensor  # [B, H, W, C], the channels before they are mixed

    def __init__(self, part: nn.Module, axis: int) -> None:
        super().__init__()
        self.part, self.axis = part, axis
        self.mix: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.seen = self.part(images).movedim(self.axis, -1)
        coded = self.seen if self.mix is None else with_one(self.seen) @ self.mix
        # Transformers keep small negative activations.
        return (coded.relu() if self.axis == 1 else coded).movedim(-1, self.axis)


def with_one(features: Tensor) -> Tensor:
    return nn.functional.pad(features, (0, 1), value=1.0)


def inside(place: Quarter, side: int) -> Tensor:
    """The quarter of an image of this size, bool [S, S]; empty without a place."""
    quarter = torch.zeros(side, side, dtype=torch.bool)
    if place is not None:
        row, column = (number * side // 2 for number in place)
        quarter[row : row + side // 2, column : column + side // 2] = True
    return quarter


def picture(first: Quarter = None, second: Quarter = None) -> Tensor:
    """Grey, with yellow horizontal stripes where the first class is, and blue vertical ones where the second is."""
    stripes = (2.0 * (torch.arange(SIZE) // 4 % 2) - 1).expand(SIZE, SIZE)
    yellow, blue = torch.tensor([2.0, 2, 0]), torch.tensor([0.0, 2, 2])
    image = yellow[:, None, None] * stripes.T * inside(first, SIZE)
    return torch.where(inside(second, SIZE), blue[:, None, None] * stripes, image)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name.startswith("swin") else ()) for name in ARCHITECTURES],
)
def known(request: pytest.FixtureRequest) -> Plain:
    """A network with known predictions: a random trunk, whose channels are mixed so that channel 0 of the last map is 1
    on the first class and 0 elsewhere, and channel 1 likewise for the second, and a head in which each channel is
    evidence of its class and against the other.

    The mix is the least squares solution over the cells of the images with one class, both, or none.
    """
    torch.manual_seed(0)
    network = Plain(2, SIZE, request.param, pretrained=False).eval()
    name, axis = ARCHITECTURES[request.param]
    coded = Coded(network.backbone.model.get_submodule(name), axis)
    setattr(network.backbone.model, name, coded)
    solved = list(product((None, FIRST), (None, SECOND)))
    wanted = torch.stack([torch.stack([inside(place, CELLS) for place in pair], dim=-1) for pair in solved])
    with torch.no_grad():
        network(torch.stack([picture(*pair) for pair in solved]))
        cells = with_one(coded.seen.flatten(0, 2)).double()
        solution = torch.linalg.pinv(cells, rtol=1e-3) @ wanted.flatten(0, 2).double()
        coded.mix = nn.functional.pad(solution.float(), (0, CODES - 2))
        network.head = nn.Linear(CODES, 2, bias=False)
        network.head.weight.zero_()
        network.head.weight[:, :2] = torch.tensor([[20.0, -20], [-20, 20]])
    return network


# A quarter of 4 x 4 cells, enlarged bilinearly: its edge keeps 15 / 16 of the heat inside in each direction.
IN_QUARTER = pytest.approx((15 / 16) ** 2, abs=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_the_heat_is_where_the_class_is(known: Plain, method: str) -> None:
    alone, together = [picture(first=FIRST), picture(second=SECOND)], [picture(FIRST, SECOND)] * 2
    ignores_the_class = method == "eigen_cam"
    heat = heat_maps(known, torch.stack(alone if ignores_the_class else together), [0, 1], method)
    assert heat.dtype == np.float32
    assert heat.shape == (2, SIZE, SIZE)
    for found, place in zip(heat, (FIRST, SECOND), strict=True):
        quarter = inside(place, SIZE).numpy()
        assert energy_inside(found, quarter) == IN_QUARTER
        assert pointing_game(found, quarter)
        assert found.min() == 0
        assert found.max() == pytest.approx(1)


class Mirror(Network):
    """A network from outside: its feature map is the image, changed in place, and perhaps a crop in a second pass."""

    mean, std, weights_source, feature_dim = (0.5,) * 3, (0.5,) * 3, "random", 3

    def __init__(self, *, twice: bool = False) -> None:
        super().__init__()
        self.layer: nn.Module = nn.Identity()
        self.head, self.twice = nn.Linear(3, 4), twice

    @property
    def trunk(self) -> nn.Module:
        return self.layer

    @property
    def heat_layer(self) -> nn.Module:
        return self.layer

    def predict(self, images: Tensor) -> NetworkOutput:
        logits = self.head(average(self.layer(images).add_(1)))
        if self.twice:
            logits = logits + 5 * self.head(average(self.layer(images[..., : images.shape[-1] // 2])))
        return NetworkOutput({"plain": logits})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        raise NotImplementedError


def pictures(number: int = 3, side: int = 16) -> Tensor:
    return torch.randn(number, 3, side, side, generator=torch.Generator().manual_seed(1))


def stretched(heat: Tensor) -> Tensor:
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    return (heat - low) / (high - low)


@pytest.mark.parametrize("twice", [False, True])
def test_grad_cam_agrees_with_its_formula(twice: bool) -> None:
    """Of the first pass; with negative activations; for each image of a batch alone."""
    torch.manual_seed(0)
    network, images, classes = Mirror(twice=twice), pictures(), [3, 0, 1]
    weights = network.head.weight.detach()[classes]
    expected = torch.einsum("bc,bchw->bhw", weights, images).relu()
    heat = torch.from_numpy(heat_maps(network, images, classes, "grad_cam"))
    torch.testing.assert_close(heat, stretched(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_the_maps_of_its_pictures(method: str) -> None:
    torch.manual_seed(0)
    network, images, classes = Mirror(), pictures(), [3, 0, 1]
    alone = [heat_maps(network, images[i : i + 1], classes[i : i + 1], method)[0] for i in range(3)]
    np.testing.assert_allclose(heat_maps(network, images, classes, method), np.stack(alone), atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_eigen_cam_shows_large_magnitudes_of_both_signs(sign: int) -> None:
    quarter = inside(FIRST, 16)
    images = sign * quarter * torch.tensor([1.0, -2, 0.5])[:, None, None]
    assert energy_inside(heat_maps(Mirror(), images[None], [0], "eigen_cam")[0], quarter.numpy()) == 1


def test_score_cam_agrees_with_the_package() -> None:
    torch.manual_seed(0)
    network = LeNet(4, 32).eval()
    images = pictures(2, 32)
    with ScoreCAM(model=network, target_layers=[network.heat_layer]) as cam:
        expected = cam(input_tensor=images, targets=[lambda logits: logits[1], lambda logits: logits[2]])
    np.testing.assert_allclose(heat_maps(network, images, [1, 2], "score_cam"), expected, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "images",
    [torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8), pictures(1, 1), torch.full((1, 3, 8, 8), torch.nan)],
    ids=["dead", "constant", "one place", "not a number"],
)
def test_a_map_without_information_gives_zeros(images: Tensor, method: str) -> None:
    assert not heat_maps(Mirror(), images, [0], method).any()


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_plus_plus", "layer_cam"])
def test_evidence_against_the_class_alone_is_not_heat(method: str) -> None:
    network = Mirror()
    with torch.no_grad():
        network.head.weight.copy_(-network.head.weight.abs())
    assert not heat_maps(network, pictures(1).abs(), [0], method).any()


def fpcn() -> Network:
    return FPCN(3, 64, "test_resnet", pretrained=False, mask=True, previous_block=True)


def mmal_net() -> Network:
    return MMALNet(3, 64, "test_resnet", pretrained=False)


def state(network: Network) -> list[object]:
    """Everything that must not change, in a form that can be compared."""
    kept: list[object] = [(name, value.numpy().tobytes()) for name, value in network.state_dict().items()]
    kept += [(parameter.requires_grad, id(parameter.grad)) for parameter in network.parameters()]
    kept += [parameter.grad.numpy().tobytes() for parameter in network.parameters() if parameter.grad is not None]
    for module in network.modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        kept += [module.training, [len(each) for each in hooks]]
    return [*kept, network.inference_mode, torch.get_rng_state().numpy().tobytes()]


def lenet() -> Network:
    return LeNet(3, 64)


@pytest.mark.parametrize(
    ("make", "method"), [*((lenet, method) for method in METHODS), (fpcn, "grad_cam"), (mmal_net, "layer_cam")]
)
def test_the_network_is_not_changed(make: Callable[[], Network], method: str) -> None:
    network = make().train()
    network(pictures(2, 64)).sum().backward()
    parameters = list(network.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = None
    next(iter(network.children())).eval()
    before, images = state(network), pictures(2, 64)
    heat = heat_maps(network, images, [1, 2], method)
    assert state(network) == before
    with torch.inference_mode():
        np.testing.assert_array_equal(heat_maps(network, images * 1, [1, 2], method), heat)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        np.testing.assert_array_equal(heat_maps(network.eval().requires_grad_(False), images, [1, 2], method), heat)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_is_not_changed_by_an_error(method: str) -> None:
    network = lenet().train()
    before = state(network)
    with pytest.raises(RuntimeError, match="channels"):
        heat_maps(network, pictures(1, 64)[:, :2], [0], method)
    if method != "eigen_cam":
        with pytest.raises(ValueError, match="class 3"):
            heat_maps(network, pictures(1, 64), [3], method)
    assert state(network) == before


@pytest.mark.parametrize("method", ["grad_cam", "score_cam"])
def test_the_pass_of_the_whole_picture_is_explained(method: str) -> None:
    """MMAL-Net has two passes with the same weights; its raw branch is `Plain`."""
    network = mmal_net()
    plain = Plain(3, 64, "test_resnet", pretrained=False)
    plain.load_state_dict(network.state_dict())
    images = pictures(2, 64)
    heat = heat_maps(network, images, [0, 1], method)
    assert heat.any()
    np.testing.assert_array_equal(heat, heat_maps(plain, images, [0, 1], method))


@pytest.mark.parametrize(("name", "size"), [("alexnet", 3), ("resnet18", 2), ("googlenet", 2), ("mobilenet_v2", 2)])
def test_networks_of_torchvision_have_a_last_map(name: str, size: int) -> None:
    """AlexNet's last layer is a pooling; the feature map before it is larger."""
    network = TorchvisionNetwork(3, 64, name, pretrained=False)
    images = pictures(1, 64)
    assert activation_map(network, images).shape == (1, size, size)
    heat = heat_maps(network, images, [1], "layer_cam")
    assert heat.shape == (1, 64, 64)
    assert np.isfinite(heat).all()


@pytest.mark.parametrize("backbone", ["test_resnet", "swin_tiny_patch4_window7_224"])
def test_activation_map_is_that_of_positioning(backbone: str) -> None:
    network = Plain(3, 64, backbone, pretrained=False).eval()
    images = pictures(2, 64)
    with torch.inference_mode():
        expected = positioning.activation_map(network.backbone(images).last)
        activation = activation_map(network.train(), images)
    np.testing.assert_array_equal(activation, expected.numpy())
    assert not [name for name in network.state_dict() if name.startswith("backbone.last")]


def test_a_network_without_a_map_is_refused() -> None:
    with pytest.raises(UserError, match="Majority has no map"):
        heat_maps(Majority(3, 16), pictures(1), [0], "grad_cam")
    network = Mirror()
    network.layer = nn.Flatten(2)
    with pytest.raises(UserError, match=r"Mirror\.heat_layer gives no map"):
        activation_map(network, pictures(1))


def test_wrong_arguments() -> None:
    with pytest.raises(UserError, match="grad_cam_plus_plus"):
        heat_maps(Mirror(), pictures(1), [0], "gradcam++")
    with pytest.raises(ValueError, match="as many classes"):
        heat_maps(Mirror(), pictures(2), [0], "grad_cam")


class ConstantWeightsCAM(BaseCAM):  # type: ignore[misc]
    """A method from outside: the mean of the channels of the feature map."""

    def get_cam_weights(self, *arguments: Any) -> NDArray[np.float32]:
        """The same weight [B, C] for each channel of the activations [B, C, H, W], the fourth argument."""
        activations: NDArray[np.float32] = arguments[3]
        return np.full(activations.shape[:2], 1 / activations.shape[1], np.float32)


def test_a_method_from_outside_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures, callback and task take it by its name."""
    entry = HeatMapMethod("Mean of the channels", f"{__name__}:ConstantWeightsCAM")
    monkeypatch.setitem(METHODS, "mean", entry)
    images = pictures()
    heat = torch.from_numpy(heat_maps(Mirror(), images, [3, 0, 1], "mean"))
    torch.testing.assert_close(heat, stretched(images.mean(1).relu()), rtol=0, atol=1e-4)
    network = Plain(3, 64, "test_resnet", pretrained=False)
    seen = torch.randint(256, (1, 3, 64, 64), dtype=torch.uint8)
    ((*_, panel),) = panels_of({"it": PanelInput(network, seen)}, [None], ("a", "b", "c"), "mean")
    assert panel.heading == "Mean of the channels"
    assert Panels("panels", method="mean").method == "mean"


@pytest.mark.parametrize("cam", ["fpcn_lightning.explain.cams:Absent", "no_such_package:CAM"])
def test_a_class_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch, cam: str) -> None:
    monkeypatch.setitem(METHODS, "mean", HeatMapMethod("Mean", cam))
    with pytest.raises(UserError, match=f"{cam} cannot be imported"):
        heat_maps(Mirror(), pictures(1), [0], "mean")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fpcn_lightning.explain.cams", raising=False)
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(UserError, match="pip install"):
        heat_maps(Mirror(), pictures(1), [0], "grad_cam")
