"""Rows of panels that say why: what networks saw of a picture, where they looked, and what they answered.

After Figure 5 of "Research on a High-Performance Rock Image Classification Method", Electronics 2023, 12(23), 4805.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fpcn_lightning.errors import check_choice
from fpcn_lightning.explain.methods import activation_map, at_inference, heat_maps
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.network import Network, NetworkOutput, normalised

TITLES = {
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "eigen_cam": "Eigen-CAM",
    "layer_cam": "Layer-CAM",
    "score_cam": "Score-CAM",
}


class PanelInput(NamedTuple):
    """A network, and what it sees of the pictures; two networks may see other crops of them."""

    network: Network
    pictures: Tensor  # uint8 [B, 3, S, S], on the device of the network


class Shown(NamedTuple):
    """One panel."""

    picture: NDArray[np.uint8]  # [S, S, 3], RGB
    heading: str
    lines: tuple[str, ...] = ()  # below the panel
    overlay: NDArray[np.float32] | None = None  # [h, w] in 0..1, laid over the picture
    outline: NDArray[np.bool_] | None = None  # [h, w], what is drawn round
    correct: bool | None = None  # None: it is no answer, or nobody knows


def panels_of(
    inputs: Mapping[str, PanelInput], labels: Sequence[int | None], classes: Sequence[str], method: str
) -> list[list[Shown]]:
    """A row of panels a picture: photograph, activation map, mask, and a heat map of each network.

    Activation map and mask are those of the network that makes most of where the object is (it positions it, weighs
    it by its mask, by alpha), the first of several; where none positions the object, there is the activation map of
    the first network and no mask. A heat map shows the class that its network answers.
    A network without a map to draw heat of (`Network.heat_layer`) has a panel with its answer alone.

    Args:
        inputs: networks by the names that stand above their panels; in any mode, which they keep.
        labels: numbers of the true classes, B of them; None where the class is not known.
        classes: their names.
        method: of the heat maps, see `fpcn_lightning.explain.methods.METHODS`.

    Returns:
        B rows, all with the same columns.

    Raises:
        UserError: no such method, or its package is not installed.
    """
    check_choice("method", method, TITLES)
    looks = {name if len(inputs) > 1 else "": _look(given, method) for name, given in inputs.items()}
    columns = [_photographs(looks, labels, classes), *_located(looks)]
    columns += [_heat(name, look, labels, classes, TITLES[method]) for name, look in looks.items()]
    return [list(row) for row in zip(*columns, strict=True)]


class _Look(NamedTuple):
    """What one network says of B pictures."""

    network: Network
    pictures: NDArray[np.uint8]  # [B, S, S, 3]
    predictions: NetworkOutput
    probabilities: Tensor  # [B, C]
    activation: NDArray[np.float32] | None  # [B, h, w]
    heat: NDArray[np.float32] | None  # [B, S, S]


def _look(given: PanelInput, method: str) -> _Look:
    network, pictures = given
    images = normalised(network, pictures)
    with at_inference(network), torch.inference_mode():
        predictions = network.predict(images)
        probabilities = predictions.logits[network.inference_mode].float().softmax(1)
    activation = heat = None
    if network.heat_layer is not None:
        activation = activation_map(network, images)
        heat = heat_maps(network, images, probabilities.argmax(1).tolist(), method)
    return _Look(
        network, pictures.permute(0, 2, 3, 1).cpu().numpy(), predictions, probabilities.cpu(), activation, heat
    )


def _photographs(looks: Mapping[str, _Look], labels: Sequence[int | None], classes: Sequence[str]) -> list[Shown]:
    pictures = next(iter(looks.values())).pictures
    names = [() if label is None else (classes[label],) for label in labels]
    return [Shown(picture, "photograph", name) for picture, name in zip(pictures, names, strict=True)]


def _located(looks: Mapping[str, _Look]) -> list[list[Shown]]:
    """The columns of the activation map and of the mask, as far as there are any."""
    name, look = max(looks.items(), key=lambda item: _positions(item[1]))
    columns = []
    if look.activation is not None:
        heading = _heading("activation map", name)
        pairs = zip(look.pictures, look.activation, strict=True)
        columns.append([Shown(picture, heading, overlay=_scaled(values)) for picture, values in pairs])
    if look.predictions.mask is not None:
        columns.append(_masks(name, look))
    return columns


def _positions(look: _Look) -> tuple[bool, bool, bool]:
    """How much a network makes of where the object is: of two, the one that makes more is the larger."""
    if not isinstance(look.network, FPCN) or look.network.inference_mode == "unmasked":
        return look.predictions.mask is not None, False, False
    return True, look.network.positioning.mask, look.network.positioning.alpha != "off"


def _masks(name: str, look: _Look) -> list[Shown]:
    assert look.predictions.mask is not None
    masks = look.predictions.mask.cpu().numpy()
    heading, shares = _heading("positioning mask", name), masks.mean((1, 2)).tolist()
    return [
        Shown(picture, heading, (f"object {share:.0%}", *_use(look.network, share)), outline=mask)
        for picture, mask, share in zip(look.pictures, masks, shares, strict=True)
    ]


def _use(network: Network, share: float) -> tuple[str, ...]:
    """What FPCN makes of a mask that covers this share of the picture; of other networks there is nothing to say."""
    if not isinstance(network, FPCN):
        return ()
    positioning = network.positioning
    if network.inference_mode == "unmasked":
        return ("not used to answer",)
    words = {"off": "alpha off", "area": f"alpha {share:.2f}", "soft": f"alpha {share:.2f}, soft"}
    alpha = words.get(str(positioning.alpha), f"alpha {positioning.alpha}, fixed")
    return (alpha if positioning.mask else f"mask off, {alpha}",)


def _heat(name: str, look: _Look, labels: Sequence[int | None], classes: Sequence[str], title: str) -> list[Shown]:
    heats = [None] * len(look.pictures) if look.heat is None else list(look.heat)
    heading = _heading("prediction" if look.heat is None else title, name)
    sure, predicted = (values.tolist() for values in look.probabilities.max(1))
    column = []
    for row, (picture, label, heat) in enumerate(zip(look.pictures, labels, heats, strict=True)):
        correct = None if label is None else predicted[row] == label
        verdict = () if correct is None else ("right" if correct else "wrong",)
        lines = [classes[predicted[row]], ", ".join((f"{sure[row]:.0%}", *verdict))]
        if heat is not None and not heat.any():
            lines.append("no place speaks for it")
        column.append(Shown(picture, heading, tuple(lines), overlay=heat, correct=correct))
    return column


def _heading(title: str, name: str) -> str:
    return f"{title}\n{name}" if name else title


def _scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """From the least, 0, to the most, 1; all zeros where there is no difference."""
    span = values.max() - values.min()
    scaled: NDArray[np.float32] = (values - values.min()) / (span if span > 0 else 1)
    return scaled
