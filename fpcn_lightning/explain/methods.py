"""Heat maps of a network by the package grad-cam, without a trace left in the network."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models import positioning
from fpcn_lightning.models.network import Network

METHODS = ("grad_cam", "grad_cam_plus_plus", "eigen_cam", "layer_cam", "score_cam")


def heat_maps(network: Network, images: Tensor, classes: Sequence[int], method: str) -> NDArray[np.float32]:
    """Where in each picture the network finds a class, told by the last map (`Network.heat_layer`).

    The package scales each map by its own smallest and largest value: maps of several pictures, classes or networks
    tell places, not amounts. A map that is the same everywhere tells no place and comes out as zeros, and so does
    one where nothing speaks for the class. Eigen-CAM shows what stands out in the map, whatever the class. Score-CAM
    asks the network once for each channel of the map.

    The network answers in evaluation mode, in `Network.heat_reading`. Parameters, their gradients, buffers, modes and
    hooks are afterwards what they were; `torch.inference_mode` and frozen parameters may be on.

    Args:
        network: on the device of the pictures.
        images: [B, 3, S, S], normalised as the network expects.
        classes: B class numbers, the ones to be explained.
        method: one of `METHODS`.

    Returns:
        float32 [B, S, S] in 0..1.

    Raises:
        UserError: unknown method, a network without a map, or the package is missing.
        ValueError: no class for each picture, or one that the network does not know.
    """
    check_choice("method", method, METHODS)
    if len(classes) != len(images):
        raise ValueError(f"{len(images)} pictures need as many classes, not {len(classes)}")
    cam = _cams()[method]
    with _alone(network) as layer, torch.inference_mode(False), torch.enable_grad(), _full_precision(images):
        # Score-CAM is the one that asks often, and keeps the maps of a whole batch meanwhile.
        size = 1 if method == "score_cam" else max(len(images), 1)
        parts = zip(torch.split(images.clone(), size), _split(classes, size), strict=True)
        drawn = [_drawn(cam, _FirstMap(network, layer), pictures, numbers) for pictures, numbers in parts]
    heat: NDArray[np.float32] = np.nan_to_num(np.concatenate(drawn), posinf=0.0).clip(0, 1)
    return heat


def activation_map(network: Network, images: Tensor) -> NDArray[np.float32]:
    """Sum of the magnitudes of the channels (FPCN, equation 1) of the map that heat maps are drawn of.

    Args:
        network: on the device of the pictures.
        images: [B, 3, S, S], normalised as the network expects.

    Returns:
        float32 [B, h, w], >= 0.

    Raises:
        UserError: a network without a map.
    """
    with _alone(network) as layer, torch.no_grad(), _full_precision(images):
        seen = _FirstMap(network, layer)
        seen(images)
    activation: NDArray[np.float32] = positioning.activation_map(seen.taken()).cpu().numpy()
    return activation


class _FirstMap(nn.Module):
    """A network, the first map of which passes through `layer` here as a tensor that the gradient ends at.

    So no gradient goes through the trunk, nor a hook of the package into the network. The map of a second pass, through
    a crop or through a masked picture, is not mistaken for the first.
    """

    def __init__(self, network: Network, layer: nn.Module) -> None:
        super().__init__()
        self.network, self.source = network, layer
        self.layer = nn.Identity()
        self.map: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C]."""
        handle = self.source.register_forward_hook(self._take)
        try:
            logits: Tensor = self.network(images)
        finally:
            handle.remove()
        return logits

    def taken(self) -> Tensor:
        """The map [B, C, H, W]."""
        if self.map is None or self.map.ndim != 4:
            raise UserError(f"{type(self.network).__name__}.heat_layer gives no map [B, C, H, W] of a picture.")
        return self.map

    def _take(self, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        if self.map is not None:
            return None
        self.map = torch.nan_to_num(output.detach().float(), posinf=0.0, neginf=0.0)
        leaf: Tensor = self.layer(self.taken().requires_grad_(torch.is_grad_enabled()))
        return leaf.clone()  # what follows may work in place


def _drawn(cam: Any, model: _FirstMap, images: Tensor, classes: Sequence[int]) -> NDArray[np.float32]:
    tool = cam(model=model, target_layers=[model.layer])
    try:  # as a context manager it would swallow an IndexError
        heat: NDArray[np.float32] = tool(input_tensor=images, targets=[_logit(number) for number in classes])
        return heat
    finally:
        tool.activations_and_grads.release()


def _logit(number: int) -> Any:
    def of(logits: Tensor) -> Tensor:
        if not 0 <= number < len(logits):
            raise ValueError(f"class {number} is none of {len(logits)}")
        return logits[number]

    return of


def _split(classes: Sequence[int], size: int) -> list[Sequence[int]]:
    return [classes[start : start + size] for start in range(0, len(classes), size)]


@contextmanager
def at_inference(network: nn.Module) -> Iterator[None]:
    """Dropout and batch norm as at inference; afterwards every part is back in its own mode."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _alone(network: Network) -> Iterator[nn.Module]:
    """The layer to look at of a network in evaluation mode that no gradient reaches; everything is put back."""
    layer = network.heat_layer
    if layer is None:
        raise UserError(f"{type(network).__name__} has no map to draw heat of: a network names it in its heat_layer.")
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    inference_mode = network.inference_mode
    with at_inference(network):
        try:
            network.requires_grad_(False)
            network.inference_mode = network.heat_inference_mode
            yield layer
        finally:
            network.inference_mode = inference_mode
            for parameter, learns, gradient in parameters:
                parameter.requires_grad_(learns)
                parameter.grad = gradient  # the package clears them


def _full_precision(images: Tensor) -> torch.autocast:
    return torch.autocast(images.device.type, enabled=False)


def _cams() -> dict[str, Any]:
    try:
        from fpcn_lightning.explain.cams import CLASSES
    except ImportError as error:
        raise UserError("task=explain needs one more package: pip install 'fpcn-lightning[explain]'.") from error
    return CLASSES
