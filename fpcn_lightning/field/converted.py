"""Formats that cannot grow line by line: finished results, written in one go."""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

Rows = Iterable[Mapping[str, object]]

ROWS_AT_ONCE = 10_000


def write_json(rows: Rows, columns: list[str], path: Path) -> None:  # noqa: ARG001 - each row names them
    """Write rows as one JSON array of objects."""
    with path.open("w", encoding="utf-8") as file:
        separator = "[\n"
        for row in rows:
            file.write(separator + json.dumps(row, ensure_ascii=False))
            separator = ",\n"
        file.write("\n]\n")


def write_parquet(rows: Rows, columns: list[str], path: Path) -> None:
    """Write rows as a Parquet file: texts, float64, and a list of texts for prediction sets."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(column, _kind(column)) for column in columns])
    remaining = iter(rows)
    with parquet.ParquetWriter(path, schema) as file:
        while chunk := list(islice(remaining, ROWS_AT_ONCE)):
            file.write_table(pyarrow.Table.from_pylist(chunk, schema))


def _kind(column: str) -> Any:
    import pyarrow

    if column == "unknown":
        return pyarrow.bool_()
    if column == "prediction_set":
        return pyarrow.list_(pyarrow.string())
    return pyarrow.float64() if column == "score" or column.startswith("probability_") else pyarrow.string()
