"""What a run logged in each epoch, in its `metrics.csv`, and how many epochs it took to reach an accuracy."""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from fpcn_lightning.errors import UserError

METRICS_NAME = "metrics.csv"
_FLOAT32 = 1e-6  # accuracies are logged in single precision: 7 of 10 pictures are 0.69999999

EpochValues = dict[int, float]
"""A logged quantity by epoch, counted from 1."""


def counted_from_zero(epochs: Iterable[str]) -> bool:
    """Whether the column `epoch` of a `metrics.csv` counts from 0, as that of earlier versions does."""
    return "0" in epochs


def read_curves(metrics_csv: Path) -> dict[str, EpochValues]:
    """Read a `metrics.csv`, where each row holds what one call logged and leaves the other cells blank.

    Returns:
        By column, the mean over the rows of each epoch, epochs ascending and counted from 1, also where an earlier
        version has written the file, which counted from 0.

    Raises:
        UserError: the file is missing, has no column 'epoch', or a cell is not a number.
    """
    cells: dict[str, dict[int, list[float]]] = {}
    try:
        with metrics_csv.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
            shift = int(counted_from_zero(row["epoch"] for row in rows))
            for row in rows:
                logged_in = row.pop("epoch")
                if not logged_in:
                    continue  # the learning rate monitor logs by step alone
                epoch = int(logged_in) + shift
                for column, text in row.items():
                    if text:
                        cells.setdefault(column, {}).setdefault(epoch, []).append(float(text))
    except OSError as error:
        raise UserError(f"{metrics_csv} cannot be read ({error.strerror}). Train with logger=csv.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{metrics_csv} is not a metrics file of the CSV logger ({error}). Train again.") from error
    return {
        column: {epoch: math.fsum(values) / len(values) for epoch, values in sorted(epochs.items())}
        for column, epochs in cells.items()
    }


def logged(curves: Mapping[str, EpochValues], name: str) -> EpochValues:
    """The values of a quantity; Lightning adds a suffix when it is logged both by step and by epoch."""
    return curves.get(name) or curves.get(f"{name}_epoch") or {}


def validation_accuracy(folder: Path) -> EpochValues:
    """Accuracy on validation, 0..1, of the run in `folder`; empty where it left no usable `metrics.csv`."""
    try:
        return logged(read_curves(folder / METRICS_NAME), "val/accuracy")
    except UserError:
        return {}


def epochs_to_reach(curve: EpochValues, accuracy: float) -> int | None:
    """How many epochs it took until `curve` was for the first time at least at `accuracy`; None if it never was."""
    return next((epoch for epoch, value in sorted(curve.items()) if value >= accuracy - _FLOAT32), None)
