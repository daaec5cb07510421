"""Rows of panels that explain predictions: the image, the activation map, the positioning mask, and heat maps.

After Figure 5 of "Research on a High-Performance Rock Image Classification Method", Electronics 2023, 12(23), 4805.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpcn_lightning.errors import check_choice
from fpcn_lightning.explain.methods import METHODS, activation_map, at_inference, heat_maps
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.network import Network, NetworkOutput
from fpcn_lightning.models.normalisation import normalised


class PanelInput(NamedTuple):
    """A network and its views of the images; two networks may have different views of them."""

    network: Network
    pictures: Tensor  # uint8 [B, 3, S, S], on the device of the network


class Panel(NamedTuple):
    """One panel."""

    picture: NDArray[np.uint8]  # [S, S, 3], RGB
    heading: str
    lines: tuple[str, ...] = ()  # below the panel
    overlay: NDArray[np.float32] | None = None  # [h, w] in 0..1, blended with the image
    outline: NDArray[np.bool_] | None = None  # [h, w], a region whose border is drawn
    correct: bool | None = None  # whether the prediction is; None: the panel shows none, or the class is not known


def panels_of(
    inputs: Mapping[str, PanelInput], labels: Sequence[int | None], classes: Sequence[str], method: str
) -> list[list[Panel]]:
    """A row of panels for each image: photograph, activation map, mask, and a heat map of each network.

    Activation map and mask are those of the network that uses the position of the object most (it has a mask, weights
    the features by it, uses alpha), the first of several; if no network positions the object, the activation map is
    that of the first network and there is no mask. A heat map shows the class that its network predicts. A network
    without a feature map for heat maps (`Network.heat_layer`) has a panel with its prediction alone.

    Args:
        inputs: networks by the names above their panels; in any mode, which is restored.
        labels: numbers of the true classes, B of them; None where the class is not known.
        classes: their names.
        method: of the heat maps, one of `fpcn_lightning.explain.methods.METHODS`.

    Returns:
        B rows, all with the same columns.

    Raises:
        UserError: unknown method, or its package is not installed.
    """
    check_choice("method", method, METHODS)
    explanations = {name if len(inputs) > 1 else "": _explain(given, method) for name, given in inputs.items()}
    columns = [_photographs(explanations, labels, classes), *_positioning(explanations)]
    columns += [
        _predictions(name, explained, labels, classes, METHODS[method].title)
        for name, explained in explanations.items()
    ]
    return [list(row) for row in zip(*columns, strict=True)]


class _Explanation(NamedTuple):
    """The predictions of one network for B images, and what they are explained by."""

    network: Network
    pictures: NDArray[np.uint8]  # [B, S, S, 3]
    predictions: NetworkOutput
    probabilities: Tensor  # [B, C]
    activation: NDArray[np.float32] | None  # [B, h, w]
    heat: NDArray[np.float32] | None  # [B, S, S]


def _explain(given: PanelInput, method: str) -> _Explanation:
    network, pictures = given
    images = normalised(network, pictures)
    with at_inference(network), torch.inference_mode():
        predictions = network.predict(images)
        probabilities = predictions.logits[network.inference_mode].float().softmax(1)
    activation = heat = None
    if network.heat_layer is not None:
        activation = activation_map(network, images)
        heat = heat_maps(network, images, probabilities.argmax(1).tolist(), method)
    return _Explanation(
        network, pictures.permute(0, 2, 3, 1).cpu().numpy(), predictions, probabilities.cpu(), activation, heat
    )


def _photographs(
    explanations: Mapping[str, _Explanation], labels: Sequence[int | None], classes: Sequence[str]
) -> list[Panel]:
    pictures = next(iter(explanations.values())).pictures
    names = [() if label is None else (classes[label],) for label in labels]
    return [Panel(picture, "photograph", name) for picture, name in zip(pictures, names, strict=True)]


def _positioning(explanations: Mapping[str, _Explanation]) -> list[list[Panel]]:
    """The columns of the activation map and of the mask, if there are any."""
    name, explained = max(explanations.items(), key=lambda item: _use_of_position(item[1]))
    columns = []
    if explained.activation is not None:
        heading = _heading("activation map", name)
        pairs = zip(explained.pictures, explained.activation, strict=True)
        columns.append([Panel(picture, heading, overlay=_scaled(values)) for picture, values in pairs])
    if explained.predictions.mask is not None:
        columns.append(_masks(name, explained))
    return columns


def _use_of_position(explained: _Explanation) -> tuple[bool, bool, bool]:
    """How much a network uses the position of the object; larger for the network that uses it more."""
    if not isinstance(explained.network, FPCN) or explained.network.inference_mode == "unmasked":
        return explained.predictions.mask is not None, False, False
    return True, explained.network.positioning.mask, explained.network.positioning.alpha != "off"


def _masks(name: str, explained: _Explanation) -> list[Panel]:
    assert explained.predictions.mask is not None
    masks = explained.predictions.mask.cpu().numpy()
    heading, shares = _heading("positioning mask", name), masks.mean((1, 2)).tolist()
    return [
        Panel(picture, heading, (f"object {share:.0%}", *_use(explained.network, share)), outline=mask)
        for picture, mask, share in zip(explained.pictures, masks, shares, strict=True)
    ]


def _use(network: Network, share: float) -> tuple[str, ...]:
    """How FPCN uses a mask that covers this share of the image; nothing for other networks."""
    if not isinstance(network, FPCN):
        return ()
    positioning = network.positioning
    if network.inference_mode == "unmasked":
        return ("not used to predict",)
    texts = {"off": "alpha off", "area": f"alpha {share:.2f}", "soft": f"alpha {share:.2f}, soft"}
    alpha = texts.get(str(positioning.alpha), f"alpha {positioning.alpha}, fixed")
    return (alpha if positioning.mask else f"mask off, {alpha}",)


def _predictions(
    name: str, explained: _Explanation, labels: Sequence[int | None], classes: Sequence[str], title: str
) -> list[Panel]:
    """The column of the heat maps of a network, with its predictions."""
    heats = [None] * len(explained.pictures) if explained.heat is None else list(explained.heat)
    heading = _heading("prediction" if explained.heat is None else title, name)
    confidence, predicted = (values.tolist() for values in explained.probabilities.max(1))
    column = []
    for row, (picture, label, heat) in enumerate(zip(explained.pictures, labels, heats, strict=True)):
        correct = None if label is None else predicted[row] == label
        verdict = () if correct is None else ("right" if correct else "wrong",)
        lines = [classes[predicted[row]], ", ".join((f"{confidence[row]:.0%}", *verdict))]
        if heat is not None and not heat.any():
            lines.append("no evidence in any place")
        column.append(Panel(picture, heading, tuple(lines), overlay=heat, correct=correct))
    return column


def _heading(title: str, name: str) -> str:
    return f"{title}\n{name}" if name else title


def _scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scaled to 0..1 by the smallest and the largest value; zeros where they are equal."""
    span = values.max() - values.min()
    scaled: NDArray[np.float32] = (values - values.min()) / (span if span > 0 else 1)
    return scaled
