"""Measures of the heat maps of a run: `heat_maps.csv` in its folder, a row a picture.

`heat_maps.json` beside it says with which options they were computed. Both are written by task=explain and read by the
report; a training that starts from scratch removes them.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.csv_text import as_before, formula_free

MEASURES_NAME = "heat_maps.csv"
OPTIONS_NAME = "heat_maps.json"
TEXTS = ("name", "label", "predicted")
# Shares in 0..1; an empty cell was not measured.
NUMBERS = (
    "confidence",
    "empty",  # 1 where no pixel supports the class: such a map counts as entirely outside the object
    "object_share",  # of the picture, by the true mask
    "pointing_game",
    "energy_inside",
    "heat_overlap",
    "mask_overlap",  # of where positioning finds the object, also in a network that does not use it
    "deletion",
    "insertion",
)
CHANGED = "changed_"  # then a region that was painted over: 1 where another class was predicted
LOST = "lost_"  # likewise: the probability that the predicted class lost, -1..1


class HeatMapMeasures(NamedTuple):
    """What was measured of one run."""

    names: tuple[str, ...]  # of the P pictures, sorted
    measures: dict[str, NDArray[np.float64]]  # by column, [P]; NaN where a picture was not measured
    options: dict[str, object]  # what it was measured with


def write_heat_maps(
    folder: Path, rows: Iterable[Mapping[str, object]], regions: Iterable[str], options: Mapping[str, object]
) -> None:
    """Write a row a picture, with the columns of every region, and then the options."""
    columns = [*TEXTS, *NUMBERS, *(prefix + region for region in regions for prefix in (CHANGED, LOST))]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: f"{value:.4f}" if isinstance(value, float) else formula_free(value) for key, value in row.items()}
        )
    remove_heat_maps(folder)
    write_text_atomically(folder / MEASURES_NAME, buffer.getvalue())
    write_text_atomically(folder / OPTIONS_NAME, json.dumps(options, indent=2) + "\n")


def remove_heat_maps(folder: Path) -> None:
    """Remove the measures of a run whose network is about to be trained again."""
    for name in (OPTIONS_NAME, MEASURES_NAME):
        (folder / name).unlink(missing_ok=True)


def read_heat_maps(folder: Path) -> HeatMapMeasures | None:
    """The measures of a run; None where nothing was measured, or writing was interrupted.

    Raises:
        UserError: a file is damaged.
    """
    path, options_path = folder / MEASURES_NAME, folder / OPTIONS_NAME
    if not (path.exists() and options_path.exists()):
        return None
    try:
        options = dict(json.loads(options_path.read_text(encoding="utf-8")))
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = sorted(map(_as_before, csv.DictReader(file)), key=lambda row: row["name"])
        columns = [column for column in (rows[0] if rows else ()) if column not in TEXTS]
        measures = {column: np.array([_number(row[column]) for row in rows]) for column in columns}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be used ({error}): remove it and run task=explain again.") from error
    return HeatMapMeasures(tuple(row["name"] for row in rows), measures, options)


def _as_before(row: Mapping[str, str]) -> dict[str, str]:
    return {**row, "name": as_before(row["name"])}


def _number(text: str) -> float:
    return float(text) if text else float("nan")
