"""Tables of numbers as CSV files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fpcn_lightning.field.results import Row, csv_line

_DIGITS = 6  # that stand for something


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write rows, numbers with six digits that stand for something, None as an empty cell."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # the mark tells spreadsheets that this is UTF-8
        file.write(csv_line(columns))
        file.writelines(csv_line(_rounded(row[column]) for column in columns) for row in rows)


def _rounded(value: object) -> object:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
