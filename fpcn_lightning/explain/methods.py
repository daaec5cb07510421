"""Heat maps of a network, computed by the package grad-cam; the network is not changed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpcn_lightning.errors import MissingPackage, UserError, check_choice
from fpcn_lightning.models import positioning
from fpcn_lightning.models.network import Network


class HeatMapMethod(NamedTuple):
    """A method that computes heat maps.

    Attributes:
        title: above the heat maps in figures.
        cam: a subclass of the package's `BaseCAM`, as module:name; it is imported when it is used, because the package
            is optional.
        one_at_a_time: compute the heat map of each image separately, because the method needs much memory for a batch.
    """

    title: str
    cam: str
    one_at_a_time: bool = False


METHODS = {
    "grad_cam": HeatMapMethod("Grad-CAM", "pytorch_grad_cam:GradCAM"),
    "grad_cam_plus_plus": HeatMapMethod("Grad-CAM++", "pytorch_grad_cam:GradCAMPlusPlus"),
    "eigen_cam": HeatMapMethod("Eigen-CAM", "fpcn_lightning.explain.cams:OrientedEigenCAM"),
    "layer_cam": HeatMapMethod("Layer-CAM", "pytorch_grad_cam:LayerCAM"),
    "score_cam": HeatMapMethod("Score-CAM", "fpcn_lightning.explain.cams:BoundedScoreCAM", one_at_a_time=True),
}
"""All methods, by the values of the config keys `explain.method` and `callbacks.panels.method`."""


def heat_maps(network: Network, images: Tensor, classes: Sequence[int], method: str) -> NDArray[np.float32]:
    """Heat maps: where in each image the network sees evidence of a class, by its last feature map.

    The feature map is that of `Network.heat_layer`. The package scales each heat map by its own smallest and largest
    value: heat maps of several images, classes or networks can be compared in their places, not in their values. A
    constant heat map becomes zeros, and so does one without evidence of the class. Eigen-CAM does not depend on the
    class. Score-CAM runs the network once for each channel of the feature map.

    The network runs in evaluation mode, in its `heat_inference_mode`. Parameters, their gradients, buffers, modes and
    hooks are restored afterwards; the caller may have enabled `torch.inference_mode` or frozen parameters.

    Args:
        network: on the device of the images.
        images: [B, 3, S, S], normalised as the network expects.
        classes: B class numbers, the ones to be explained.
        method: one of `METHODS`.

    Returns:
        float32 [B, S, S] in 0..1.

    Raises:
        UserError: unknown method, a network without a feature map, or the package is missing.
        ValueError: another number of classes than of images, or a class number that the network does not have.
    """
    check_choice("method", method, METHODS)
    if len(classes) != len(images):
        raise ValueError(f"{len(images)} pictures need as many classes, not {len(classes)}")
    cam = _cam(METHODS[method])
    with _unchanged(network) as layer, torch.inference_mode(False), torch.enable_grad(), _full_precision(images):
        size = 1 if METHODS[method].one_at_a_time else max(len(images), 1)
        parts = zip(torch.split(images.clone(), size), _split(classes, size), strict=True)
        heats = [_heat(cam, _FirstMap(network, layer), pictures, numbers) for pictures, numbers in parts]
    heat: NDArray[np.float32] = np.nan_to_num(np.concatenate(heats), posinf=0.0).clip(0, 1)
    return heat


def activation_map(network: Network, images: Tensor) -> NDArray[np.float32]:
    """Sum of the magnitudes of the channels (FPCN, equation 1) of the feature map that heat maps are computed from.

    Args:
        network: on the device of the images.
        images: [B, 3, S, S], normalised as the network expects.

    Returns:
        float32 [B, h, w], >= 0.

    Raises:
        UserError: a network without a feature map.
    """
    with _unchanged(network) as layer, torch.no_grad(), _full_precision(images):
        model = _FirstMap(network, layer)
        model(images)
    activation: NDArray[np.float32] = positioning.activation_map(model.checked_map()).cpu().numpy()
    return activation


class _FirstMap(nn.Module):
    """A network whose first feature map passes through `layer` of this module, as a leaf tensor.

    So the gradient stops there, before the trunk, and the package adds its hooks here and not to the network. The
    feature map of a second pass, through a crop or a masked image, is not used.
    """

    def __init__(self, network: Network, layer: nn.Module) -> None:
        super().__init__()
        self.network, self.source = network, layer
        self.layer = nn.Identity()
        self.map: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C]."""
        handle = self.source.register_forward_hook(self._replace_map)
        try:
            logits: Tensor = self.network(images)
        finally:
            handle.remove()
        return logits

    def checked_map(self) -> Tensor:
        """The feature map [B, C, H, W]."""
        if self.map is None or self.map.ndim != 4:
            raise UserError(f"{type(self.network).__name__}.heat_layer gives no map [B, C, H, W] of the pictures.")
        return self.map

    def _replace_map(self, _module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        if self.map is not None:
            return None
        self.map = torch.nan_to_num(output.detach().float(), posinf=0.0, neginf=0.0)
        leaf: Tensor = self.layer(self.checked_map().requires_grad_(torch.is_grad_enabled()))
        return leaf.clone()  # the next layers may work in place


def _heat(cam: Any, model: _FirstMap, images: Tensor, classes: Sequence[int]) -> NDArray[np.float32]:
    tool = cam(model=model, target_layers=[model.layer])
    try:  # as a context manager the tool would suppress an IndexError
        heat: NDArray[np.float32] = tool(input_tensor=images, targets=[_logit(number) for number in classes])
        return heat
    finally:
        tool.activations_and_grads.release()


def _logit(number: int) -> Any:
    def of(logits: Tensor) -> Tensor:
        if not 0 <= number < len(logits):
            raise ValueError(f"class {number} does not exist: the network has {len(logits)} classes")
        return logits[number]

    return of


def _split(classes: Sequence[int], size: int) -> list[Sequence[int]]:
    return [classes[start : start + size] for start in range(0, len(classes), size)]


@contextmanager
def at_inference(network: nn.Module) -> Iterator[None]:
    """Evaluation mode in the block; afterwards the mode of every module is restored."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _unchanged(network: Network) -> Iterator[nn.Module]:
    """The heat layer of a network, which is in evaluation mode and frozen in the block and restored afterwards."""
    layer = network.heat_layer
    if layer is None:
        raise UserError(
            f"{type(network).__name__} has no map to draw heat maps of: define its heat_layer, or use another network."
        )
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    inference_mode = network.inference_mode
    with at_inference(network):
        try:
            network.requires_grad_(False)
            network.inference_mode = network.heat_inference_mode
            yield layer
        finally:
            network.inference_mode = inference_mode
            for parameter, requires_grad, gradient in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient  # the package clears it


def _full_precision(images: Tensor) -> torch.autocast:
    return torch.autocast(images.device.type, enabled=False)


def _cam(method: HeatMapMethod) -> Any:
    """The class of a method."""
    MissingPackage.check("task=explain", "explain")
    try:
        return resolve_name(method.cam)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{method.cam} cannot be imported ({error}).") from error
