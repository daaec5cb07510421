"""What was measured of the heat maps of a run: `heat_maps.csv` in its folder, a row a picture.

`heat_maps.json` beside it says what it was measured with. Both are written by task=explain
(`fpcn_lightning.explain.measurement`) and read by the report; a training that begins anew removes them.
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

HEAT_NAME = "heat_maps.csv"
KEY_NAME = "heat_maps.json"
TEXTS = ("name", "label", "predicted")
# Shares in 0..1; an empty cell was not measured.
NUMBERS = (
    "confidence",
    "empty",  # 1 where nothing speaks for the class: such a map counts as lying outside the object
    "object_share",  # of the picture, by the true mask
    "pointing_game",
    "energy_inside",
    "heat_overlap",
    "mask_overlap",  # of where positioning finds the object, also in a network that does not use it
    "deletion",
    "insertion",
)
CHANGED = "changed_"  # then a region that was painted over: 1 where another class was answered
LOST = "lost_"  # likewise: the probability that the answered class lost, -1..1


class Measured(NamedTuple):
    """What was measured of one run."""

    names: tuple[str, ...]  # of the P pictures, sorted
    measures: dict[str, NDArray[np.float64]]  # by column, [P]; NaN where a picture was not measured
    key: dict[str, object]  # what it was measured with


def write_heat(
    folder: Path, rows: Iterable[Mapping[str, object]], regions: Iterable[str], key: Mapping[str, object]
) -> None:
    """Write a row a picture, with the columns of every region, and then what it was measured with."""
    columns = [*TEXTS, *NUMBERS, *(prefix + region for region in regions for prefix in (CHANGED, LOST))]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
    forget_heat(folder)
    write_text_atomically(folder / HEAT_NAME, buffer.getvalue())
    write_text_atomically(folder / KEY_NAME, json.dumps(key, indent=2) + "\n")


def forget_heat(folder: Path) -> None:
    """Remove what was measured: the network is going to be another one."""
    for name in (KEY_NAME, HEAT_NAME):
        (folder / name).unlink(missing_ok=True)


def read_heat(folder: Path) -> Measured | None:
    """What was measured of a run; None where nothing was, or not to the end.

    Raises:
        UserError: a file is damaged.
    """
    path, note = folder / HEAT_NAME, folder / KEY_NAME
    if not (path.exists() and note.exists()):
        return None
    try:
        key = dict(json.loads(note.read_text(encoding="utf-8")))
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["name"])
        columns = [column for column in (rows[0] if rows else ()) if column not in TEXTS]
        measures = {column: np.array([_number(row[column]) for row in rows]) for column in columns}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be used ({error}): remove it and run task=explain again.") from error
    return Measured(tuple(row["name"] for row in rows), measures, key)


def _number(text: str) -> float:
    return float(text) if text else float("nan")
