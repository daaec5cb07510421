"""What was answered to the pictures of one side of the split, as a CSV for people and for the report."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.index import FOREIGN_NAMES
from fpcn_lightning.runs.predictions import COLUMNS


def write_predictions(
    path: Path,
    data: RockDataModule,
    positions: Sequence[int],
    probabilities: NDArray[np.float32],
    object_ratios: NDArray[np.float32] | None = None,
) -> None:
    """Write the answers, the worst first.

    The columns object_ratio and true_object_ratio hold the share of the picture that is object, as the network found it
    and as the data set's masks say; they are empty where nobody knows.

    Args:
        path: file to write.
        data: after `setup`.
        positions: of the N pictures in its index.
        probabilities: [N, C].
        object_ratios: [N], 0..1, from a network that positions the object.
    """
    labels = [data.pictures.pictures[position].label for position in positions]
    order = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")
    with path.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, *data.classes])
        for row in order:
            prediction, mask = probabilities[row], data.true_mask(positions[row])
            best = int(prediction.argmax())
            words = (data.index.pictures[positions[row]].name, data.classes[labels[row]], data.classes[best])
            found = None if object_ratios is None else object_ratios[row]
            numbers = (prediction[best], found, None if mask is None else mask.mean(), *prediction)
            writer.writerow([*words, *("" if number is None else f"{number:.4f}" for number in numbers)])
