"""Predictions as rows of a table, and the formats that they are written in."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fpcn_lightning.data.names import escaped
from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.untrusted import printable
from fpcn_lightning.runs.csv_text import formula_free, path_text

TableRow = dict[str, object]
TableRows = Iterable[Mapping[str, object]]

DIGITS = 6
ROWS_AT_ONCE = 10_000  # of a Parquet file


@dataclass(frozen=True)
class PredictionTable:
    """Rows with the columns path, class_1, probability_1, ..., unknown, score, optionally prediction_set, error,
    `not_usable` if the model is not usable, and those of the user's own list.

    Args:
        classes: of the bundle.
        top: how many classes a row names, the most likely first.
        sets: whether there are prediction sets.
        others: columns of the user's list; one with the name of another column gets the prefix `list_`.
        not_usable: why the model is not usable; empty if it is.
    """

    classes: tuple[str, ...]
    top: int = 3
    sets: bool = False
    others: tuple[str, ...] = ()
    not_usable: str = ""

    @property
    def ranks(self) -> range:
        """Ranks of the classes that a row names; 1 is the most likely."""
        return range(1, min(self.top, len(self.classes)) + 1)

    @property
    def columns(self) -> list[str]:
        """Names of the columns in their order."""
        return [*self.own_columns, *self.kept_columns]

    @property
    def own_columns(self) -> list[str]:
        """Those that the predictions fill."""
        best = [f"{word}_{rank}" for rank in self.ranks for word in ("class", "probability")]
        sets, stamp = ["prediction_set"] * self.sets, ["not_usable"] * bool(self.not_usable)
        return ["path", *best, "unknown", "score", *sets, "error", *stamp]

    @property
    def kept_columns(self) -> list[str]:
        """Those of the user's list, with a prefix where the name is used already."""
        used = list(self.own_columns)
        for name in self.others:
            kept = printable(name)
            while kept in used:
                kept = f"list_{kept}"
            used.append(kept)
        return used[len(self.own_columns) :]

    def row(self, prediction: Prediction, cells: Sequence[str] = ()) -> TableRow:
        """The cells of a prediction by column, None where there is no value; `cells` are those of the user's list."""
        row: TableRow = dict.fromkeys(self.own_columns)
        row |= dict(zip(self.kept_columns, map(_one_line, cells), strict=bool(cells)))
        row["path"] = shown(prediction.path)
        if self.not_usable:
            row["not_usable"] = self.not_usable
        if prediction.probabilities is None or prediction.score is None:
            row["error"] = printable(" ".join((prediction.error or "").split()))
            return row
        best = np.argsort(-prediction.probabilities, kind="stable")
        for rank, position in zip(self.ranks, best, strict=False):
            row[f"class_{rank}"] = self.classes[position]
            row[f"probability_{rank}"] = round(float(prediction.probabilities[position]), DIGITS)
        row |= {"unknown": prediction.unknown, "score": round(prediction.score, DIGITS)}
        if self.sets:
            row["prediction_set"] = list(prediction.prediction_set or ())
        return row


def shown(path: Path) -> str:
    """A path as one line of readable text that spreadsheets do not treat as a formula, and that is still a valid path.

    Only bytes that are no UTF-8 and control characters are escaped.
    """
    return path_text(escaped(str(path)))


def csv_line(cells: Iterable[object]) -> str:
    """One line of a CSV file without formulas; booleans are true and false, lists are joined with semicolons."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(formula_free(_cell(cell)) for cell in cells)
    return line.getvalue()


def json_line(row: TableRow) -> str:
    """One line of a JSON Lines file."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def write_json(rows: TableRows, columns: list[str], path: Path) -> None:  # noqa: ARG001 - each row has the names
    """Write rows as one JSON array of objects."""
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"
        for row in rows:
            file.write(separator + json.dumps(row, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]\n")


def write_parquet(rows: TableRows, columns: list[str], path: Path) -> None:
    """Write rows as a Parquet file of strings, booleans, float64, and a list of strings for prediction sets."""
    import pyarrow
    from pyarrow import parquet

    own = columns[: columns.index("error") + 1]
    schema = pyarrow.schema([(name, _parquet_type(name) if name in own else pyarrow.string()) for name in columns])
    remaining = iter(rows)
    with parquet.ParquetWriter(path, schema) as file:
        while chunk := list(islice(remaining, ROWS_AT_ONCE)):
            file.write_table(pyarrow.Table.from_pylist(chunk, schema))


def _one_line(text: str) -> str:
    """The text of a user's cell without line ends, by which the lines of results are told apart."""
    return printable(re.sub(r"[\r\n]+", " ", text))


def _parquet_type(column: str) -> Any:
    import pyarrow

    if column == "unknown":
        return pyarrow.bool_()
    if column == "prediction_set":
        return pyarrow.list_(pyarrow.string())
    return pyarrow.float64() if column == "score" or column.startswith("probability_") else pyarrow.string()


def _cell(value: object) -> object:
    match value:
        case bool():
            return str(value).lower()
        case list():
            return "; ".join(value)
        case _:
            return value
