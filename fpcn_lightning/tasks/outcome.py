"""What training and evaluation both say about a run, and leave in its folder."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fpcn_lightning.runs.recording import device_name
from fpcn_lightning.runs.results import ImageCounts, Result

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from fpcn_lightning.data.datamodule import RockDataModule
    from fpcn_lightning.models.network import Network
    from fpcn_lightning.modules.classifier import Classifier


def describe(result: Result, data: "RockDataModule", network: "Network") -> None:
    """Fill in what a result says about its data, its network and its device."""
    from fpcn_lightning.profiling import cost

    sides = ImageCounts(train=len(data.split.train), val=len(data.split.validation), test=len(data.split.test))
    result["data"] = {
        "classes": list(data.classes),
        "fingerprint": data.split.fingerprint,
        "images": sides,
        "refused": len(data.index.refused),
    }
    result["network"] = {
        "parameters": cost.parameters(network),
        "macs": cost.macs(network, data.augmentation.evaluation_side) * data.pictures.rows_a_picture,  # all its tiles
        "input_size": data.augmentation.evaluation_side,
        "weights": network.weights_source,
    }
    result["device"] = device_name()
    result["inference_mode"] = network.inference


def time_network(result: Result, data: "RockDataModule", network: "Network", device: "torch.device") -> None:
    """Fill in how long the network, now trained, takes for one view on the run's device."""
    from fpcn_lightning.profiling.latency import milliseconds

    if result["network"]:
        side = data.augmentation.evaluation_side
        result["network"]["milliseconds"] = round(milliseconds(network, side, device), 3)


def class_counts(data: "RockDataModule") -> "Tensor":
    """How many pictures [C] of each class there are to train on."""
    import torch

    labels = torch.tensor([data.pictures.pictures[position].label for position in data.split.train])
    return labels.bincount(minlength=len(data.classes))


def leave_predictions(module: "Classifier", data: "RockDataModule", folder: Path) -> None:
    """Write the test predictions, the worst first, and the confusion matrix of the configured inference mode."""
    from fpcn_lightning.report.figures import confusion_matrix
    from fpcn_lightning.runs.predictions import PREDICTIONS_NAME

    positions, probabilities, ratios = module.predictions["test"]
    found = None if ratios is None else ratios.numpy()
    write_predictions_on(data, positions.tolist(), probabilities.numpy(), found, folder / PREDICTIONS_NAME)
    measured = module.measured["test"][module.network.inference]
    confusion_matrix(measured["confusion"], data.classes, folder / "confusion_matrix.png")


def write_predictions_on(
    data: "RockDataModule",
    positions: Sequence[int],
    probabilities: "NDArray[np.float32]",
    object_ratios: "NDArray[np.float32] | None",
    path: Path,
) -> None:
    """Write predictions with what the data set knows about their pictures.

    Args:
        data: after `setup`.
        positions: of the N pictures in its index.
        probabilities: [N, C].
        object_ratios: [N], 0..1, from a network that positions the object.
        path: file to write.
    """
    from fpcn_lightning.runs.predictions import write_predictions

    masks = [data.true_mask(position) for position in positions]
    write_predictions(
        path,
        names=[data.index.pictures[position].name for position in positions],
        labels=[data.pictures.pictures[position].label for position in positions],
        classes=data.classes,
        probabilities=probabilities,
        object_ratios=object_ratios,
        true_object_ratios=[math.nan if mask is None else float(mask.mean()) for mask in masks],
    )
