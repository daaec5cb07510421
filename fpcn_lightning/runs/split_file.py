"""The pictures of a run and their splits: `split.csv` of its folder, read without NumPy."""

import csv
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES

SPLIT_NAME = "split.csv"  # in a run folder


class SplitPicture(NamedTuple):
    """A picture of a run."""

    label: str
    digest: str  # of the file's bytes
    split: str  # train, val, test, or dropped


def split_pictures(folder: Path) -> dict[str, SplitPicture]:
    """The pictures of a run, by name.

    Raises:
        UserError: the split of the run is missing or damaged.
    """
    path = folder / SPLIT_NAME
    try:
        header, *rows = rows_of_csv(path)
        name, *places = (header.index(column) for column in ("name", *SplitPicture._fields))
        return {row[name]: SplitPicture(*(row[place] for place in places)) for row in rows}
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be used: {error}.") from error


def rows_of_csv(path: Path) -> Generator[list[str]]:
    """The rows of a CSV file of a run, its header first.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file:
            yield from csv.reader(file)
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', error)}).") from error
