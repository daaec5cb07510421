"""What was measured of the heat maps of a run: `heat_maps.csv` in its folder, a row a picture.

Written by task=explain (`fpcn_lightning.explain.study`), read by the report.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.whole_file import write_whole

HEAT_NAME = "heat_maps.csv"
TEXTS = ("name", "label", "predicted")
# Shares in 0..1; an empty cell was not measured.
NUMBERS = (
    "confidence",
    "object_share",  # of the picture, by the true mask
    "pointing_game",
    "energy_inside",
    "heat_overlap",
    "mask_overlap",  # of the positioning mask, of networks that have one
    "deletion",
    "insertion",
)
CHANGED = "changed_"  # then a region that was painted over: 1 where another class was answered
LOST = "lost_"  # likewise: the probability that the answered class lost, -1..1
Measures = dict[str, NDArray[np.float64]]


def write_heat(folder: Path, rows: Iterable[Mapping[str, object]], regions: Iterable[str]) -> Path:
    """Write a row a picture, with the columns of every region, and return the path."""
    columns = [*TEXTS, *NUMBERS, *(prefix + region for region in regions for prefix in (CHANGED, LOST))]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
    return write_whole(folder / HEAT_NAME, buffer.getvalue())


def read_heat(folder: Path) -> tuple[tuple[str, ...], Measures] | None:
    """The names of the P pictures, sorted, and what was measured of each, [P], NaN where it was not; None without file.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / HEAT_NAME
    if not path.exists():
        return None
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["name"])
        columns = [column for column in (rows[0] if rows else ()) if column not in TEXTS]
        measures = {column: np.array([_number(row[column]) for row in rows]) for column in columns}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be used ({error}): remove it and run task=explain again.") from error
    return tuple(row["name"] for row in rows), measures


def _number(text: str) -> float:
    return float(text) if text else float("nan")
