"""Measures of heat maps against true masks, a row for each image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.masks import OBJECT
from fpcn_lightning.explain.measures import above_mean, energy_inside, overlap, pointing_game
from fpcn_lightning.explain.methods import heat_maps
from fpcn_lightning.explain.perturbation import Predict, change, deletion, insertion, painted_over
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.normalisation import normalised
from fpcn_lightning.runs.heat_maps import CHANGED, LOST

BACKGROUND = "background"
BATCH_SIZE = 8  # images

HeatMapRow = dict[str, Any]  # by the columns of `fpcn_lightning.runs.heat_maps`


@dataclass(frozen=True)
class HeatMapStudy:
    """What is measured, and how.

    Predictions and heat maps are those of the network's `heat_inference_mode`: for MMAL-Net that of the whole image.

    Attributes:
        network: in evaluation mode, on the CPU.
        data: after `setup`.
        method: of the heat maps (`fpcn_lightning.explain.methods.METHODS`).
        curves: number of images for which insertion and deletion are computed.
        steps: of these curves.
    """

    network: Network
    data: RockDataModule
    method: str
    curves: int
    steps: int

    def rows(self, positions: Sequence[int]) -> list[HeatMapRow]:
        """Measure the centre views of images, each for the class that the network predicts.

        For an image without a true mask nothing is compared with the object; its other marked regions are painted over
        as in the others.
        """
        with_curves = set(spread(positions, self.curves))
        groups = [positions[start : start + BATCH_SIZE] for start in range(0, len(positions), BATCH_SIZE)]
        bar = tqdm(total=len(positions), desc="measuring heat maps", unit="picture", disable=None, leave=False)
        rows: list[HeatMapRow] = []
        with bar:
            for group in groups:
                for row in self._measured(group, with_curves):
                    rows.append(row)
                    bar.update()
        return rows

    @property
    def regions(self) -> list[str]:
        """The regions that are painted over: the background, the object, and those that the data set marks."""
        return [BACKGROUND, *self.data.marked]

    def _measured(self, group: Sequence[int], with_curves: set[int]) -> Iterator[HeatMapRow]:
        predict = probabilities_of(self.network)
        images, labels, _ = self.data.pictures.centres(group)
        pictures = images.permute(0, 2, 3, 1).contiguous().numpy()
        probabilities = predict(pictures)
        predicted = probabilities.argmax(1)
        heats = heat_maps(self.network, normalised(self.network, images), predicted.tolist(), self.method)
        found = self._found(images)
        for number, position in enumerate(group):
            name, classes = self.data.index.pictures[position].name, self.data.classes
            row: HeatMapRow = {"name": name, "label": classes[labels[number]], "predicted": classes[predicted[number]]}
            row |= {
                "confidence": float(probabilities[number, predicted[number]]),
                "empty": float(not heats[number].any()),
            }
            masks, label = self.data.centre_masks(position), int(predicted[number])
            row |= _places(heats[number], masks.get(OBJECT), None if found is None else found[number])
            row |= _changes(predict, pictures[number], masks, label)
            if position in with_curves:
                options = (predict, pictures[number], heats[number], label, self.steps)
                row |= {"deletion": deletion(*options).area, "insertion": insertion(*options).area}
            yield row

    @torch.inference_mode()
    def _found(self, images: Tensor) -> NDArray[np.bool_] | None:
        """The positioning masks [B, S, S] at the size of the images; None for a network without them."""
        mask = self.network.predict(normalised(self.network, images)).mask
        if mask is None:
            return None
        size = images.shape[2:]
        return torch.nn.functional.interpolate(mask[:, None].float(), size=size, mode="nearest")[:, 0].bool().numpy()


def spread(positions: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, evenly spread, so that all classes of a list that is sorted by class are in it."""
    places = np.unique(np.linspace(0, len(positions) - 1, min(count, len(positions))).round().astype(int))
    return [positions[place] for place in places]


def probabilities_of(network: Network) -> Predict:
    """A function that returns the probabilities [N, C] of images uint8 [N, S, S, 3] by a network in evaluation mode."""
    other_inference_mode = network.heat_inference_mode != network.inference_mode

    @torch.inference_mode()
    def predict(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = normalised(network, torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2))
        logits = (
            network.predict(images).logits[network.heat_inference_mode] if other_inference_mode else network(images)
        )
        probabilities: NDArray[np.float32] = logits.float().softmax(1).numpy()
        return probabilities

    return predict


def _places(heat: NDArray[np.float32], inside: NDArray[np.bool_] | None, found: NDArray[np.bool_] | None) -> HeatMapRow:
    if inside is None:
        return {}
    empty = not heat.any()
    row: HeatMapRow = {
        "object_share": float(inside.mean()),
        "pointing_game": float(pointing_game(heat, inside)),
        "energy_inside": 0.0 if empty else energy_inside(heat, inside),
        "heat_overlap": 0.0 if empty else overlap(above_mean(heat), inside),
    }
    return row if found is None else {**row, "mask_overlap": overlap(found, inside)}


def _changes(
    predict: Predict, picture: NDArray[np.uint8], masks: dict[str, NDArray[np.bool_]], label: int
) -> HeatMapRow:
    regions = {BACKGROUND: ~masks[OBJECT], **masks} if OBJECT in masks else masks
    row: HeatMapRow = {}
    for region, inside in regions.items():
        changed = change(predict, picture, painted_over(picture, inside), label)
        row |= {CHANGED + region: float(not changed.same_class), LOST + region: changed.drop}
    return row
