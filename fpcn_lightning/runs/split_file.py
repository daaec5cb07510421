"""Which split each picture of a run was in: `split.csv` of its folder, read without NumPy."""

import csv
from collections.abc import Generator
from pathlib import Path

from fpcn_lightning.errors import UserError

SPLIT_NAME = "split.csv"
FOREIGN_NAMES = "surrogateescape"  # a file name out of an old archive need not be UTF-8


def read_split(folder: Path) -> dict[str, str]:
    """The split of each picture of a run, by name: train, val or test.

    Raises:
        UserError: the split of the run is missing or damaged.
    """
    path = folder / SPLIT_NAME
    try:
        header, *rows = rows_of_csv(path)
        name, split = header.index("name"), header.index("split")
        return {row[name]: row[split] for row in rows}
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
