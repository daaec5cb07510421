"""Results on disk, written line by line, so that an interrupted run resumes where it stopped.

`.csv` and `.jsonl` are appended to as predictions are made. `.json` and `.parquet` cannot be appended to: their lines
are written to `<output>.part.jsonl` and converted at the end. While a run is not finished, `<output>.part.json` next to
it holds the settings of the run. A run with the same settings resumes; one with other settings is refused.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.field.concurrency import acquire_output_lock, release_output_lock
from fpcn_lightning.field.results import TableRow, csv_line, json_line, write_json, write_parquet
from fpcn_lightning.runs.atomic_write import atomic_write, leftovers, write_text_atomically

APPENDED = (".csv", ".jsonl")
CONVERTED = {".json": write_json, ".parquet": write_parquet}


class Journal:
    """The results of one run, a context manager.

    Args:
        output: the file of results; its suffix is the format: .csv, .jsonl, .json or .parquet.
        columns: of every row.
        settings: what is computed, as JSON: the results of two runs with the same settings can be combined.
        overwrite: start again, and replace existing results.

    Attributes:
        earlier: rows of an interrupted run before this one, with their cells as the format returns them.

    Raises:
        UserError: an unknown suffix; or there are finished results, or those with other settings; or another process
            is writing them.
    """

    def __init__(self, output: Path, columns: list[str], settings: Mapping[str, object], *, overwrite: bool) -> None:
        self.output = output
        self.columns = columns
        self.earlier: list[Mapping[str, object]] = []
        self._check_suffix()
        appended = output.suffix.lower() in APPENDED
        self._lines = output if appended else output.with_name(output.name + ".part.jsonl")
        self._settings = output.with_name(output.name + ".part.json")
        output.parent.mkdir(parents=True, exist_ok=True)
        self._lock = acquire_output_lock(output.with_name(f".{output.name}.lock"), output, "file")
        try:
            self._begin(settings, overwrite=overwrite)
        except BaseException:
            release_output_lock(self._lock)
            raise

    def _begin(self, settings: Mapping[str, object], *, overwrite: bool) -> None:
        output = self.output
        for path in (*leftovers(output), *leftovers(self._settings)):
            path.unlink()
        if self._settings.exists() and not overwrite:
            self._check_settings(settings)
            self.earlier = list(self._complete_rows())
        elif output.exists() and not overwrite:
            raise UserError(
                f"{output} already contains results: choose another file with --output, or pass --overwrite."
            )
        else:
            self._lines.unlink(missing_ok=True)
            write_text_atomically(self._settings, json.dumps(settings))

    def __enter__(self) -> "Journal":
        new = not self._lines.exists() or not self._lines.stat().st_size
        self._file = self._lines.open("a", encoding="utf-8", newline="")
        if new and self._is_csv:
            self._file.write("\ufeff" + csv_line(self.columns))  # spreadsheets recognise UTF-8 by the mark
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        try:
            if error is None:
                self._finish()
        finally:
            release_output_lock(self._lock)

    def write(self, row: TableRow) -> None:
        """Append a row and flush the file."""
        self._file.write(csv_line(row[column] for column in self.columns) if self._is_csv else json_line(row))
        self._file.flush()

    @property
    def _is_csv(self) -> bool:
        return self._lines.suffix.lower() == ".csv"

    def _check_suffix(self) -> None:
        suffix = self.output.suffix.lower()
        if suffix not in (*APPENDED, *CONVERTED):
            raise UserError(
                f"{self.output}: results are written as {', '.join((*APPENDED, *CONVERTED))}: choose such a file."
            )
        if suffix == ".parquet":
            MissingPackage.check(str(self.output), "parquet")

    def _check_settings(self, settings: Mapping[str, object]) -> None:
        try:
            same = json.loads(self._settings.read_text(encoding="utf-8")) == settings
        except ValueError:
            same = False
        if not same:
            raise UserError(
                f"{self.output} contains unfinished results of another bundle, source or options: choose another file "
                "with --output, or pass --overwrite."
            )

    def _complete_rows(self) -> Iterator[Mapping[str, object]]:
        """The rows of an interrupted run, after the file was truncated to whole lines."""
        data = self._lines.read_bytes() if self._lines.exists() else b""
        complete = data[: data.rfind(b"\n") + 1]
        if len(complete) < len(data):
            os.truncate(self._lines, len(complete))
        return self._parsed(complete)

    def _parsed(self, data: bytes) -> Iterator[Mapping[str, object]]:
        try:
            lines = data.decode("utf-8-sig").split("\n")[:-1]  # a file name may contain other line separators
            rows: Iterable[Mapping[str, object]] = _csv_rows(lines) if self._is_csv else map(json.loads, lines)
            for row in rows:
                if list(row) != self.columns:
                    raise ValueError("a line with other columns")
                yield row
        except (ValueError, TypeError, csv.Error) as error:
            raise UserError(f"{self._lines} is damaged ({error}): remove it, or pass --overwrite.") from error

    def _finish(self) -> None:
        if write := CONVERTED.get(self.output.suffix.lower()):
            with atomic_write(self.output) as temporary:
                write(self._parsed(self._lines.read_bytes()), self.columns, temporary)
        self._settings.unlink()
        if self._lines != self.output:
            self._lines.unlink()


def _csv_rows(lines: list[str]) -> Iterator[Mapping[str, object]]:
    rows = csv.reader(lines)
    header = next(rows, [])
    return (dict(zip(header, cells, strict=True)) for cells in rows)
