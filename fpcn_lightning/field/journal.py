"""Results on disk, written line by line, so that a run that was cut off goes on where it stopped.

`.csv` and `.jsonl` grow as the answers come. `.json` and `.parquet` cannot grow: their lines are kept in
`<output>.part.jsonl` and converted at the end. As long as a run is not finished, `<output>.part.json` lies beside it
and says what is being computed; a start that computes the same goes on, another one is refused.
"""

import csv
import importlib.util
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.converted import write_json, write_parquet
from fpcn_lightning.field.one_process import acquired, release
from fpcn_lightning.field.results import Row, csv_line, json_line

GROWING = (".csv", ".jsonl")
CONVERTED = {".json": write_json, ".parquet": write_parquet}


class Journal:
    """The results of one run, a context manager.

    Args:
        output: the file of results; its suffix says the format: .csv, .jsonl, .json or .parquet.
        columns: of every row.
        task: what is computed, as JSON knows it: answers of two runs with the same task belong together.
        overwrite: begin anew, whatever is there.

    Attributes:
        earlier: rows of an earlier run that was cut off, with their cells as the format gives them back.

    Raises:
        UserError: an unknown suffix; or there are finished results, or those of another task; or another process is
            writing them.
    """

    def __init__(self, output: Path, columns: list[str], task: Mapping[str, object], *, overwrite: bool) -> None:
        self.output = output
        self.columns = columns
        self.earlier: list[Mapping[str, object]] = []
        self._check_suffix()
        grows = output.suffix.lower() in GROWING
        self._lines = output if grows else output.with_name(output.name + ".part.jsonl")
        self._note = output.with_name(output.name + ".part.json")
        self._temporary = output.with_name(output.name + ".part")
        output.parent.mkdir(parents=True, exist_ok=True)
        self._lock = acquired(output.with_name(f".{output.name}.lock"), output, "file")
        try:
            self._begin(task, overwrite=overwrite)
        except BaseException:
            release(self._lock)
            raise

    def _begin(self, task: Mapping[str, object], *, overwrite: bool) -> None:
        output = self.output
        if self._note.exists() and not overwrite:
            self._check_task(task)
            self.earlier = list(self._repaired())
        elif output.exists() and not overwrite:
            raise UserError(f"{output} holds results already: name another file with --output, or say --overwrite.")
        else:
            self._lines.unlink(missing_ok=True)
            self._temporary.write_text(json.dumps(task), encoding="utf-8")
            self._temporary.replace(self._note)

    def __enter__(self) -> "Journal":
        new = not self._lines.exists() or not self._lines.stat().st_size
        self._file = self._lines.open("a", encoding="utf-8", newline="")
        if new and self._is_csv:
            self._file.write("\ufeff" + csv_line(self.columns))  # the mark tells spreadsheets that this is UTF-8
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        try:
            if error is None:
                self._finish()
        finally:
            release(self._lock)

    def write(self, row: Row) -> None:
        """Add a row, and let the file have it at once."""
        self._file.write(csv_line(row[column] for column in self.columns) if self._is_csv else json_line(row))
        self._file.flush()

    @property
    def _is_csv(self) -> bool:
        return self._lines.suffix.lower() == ".csv"

    def _check_suffix(self) -> None:
        suffix = self.output.suffix.lower()
        if suffix not in (*GROWING, *CONVERTED):
            raise UserError(
                f"{self.output}: results are written as {', '.join((*GROWING, *CONVERTED))}: name such a file."
            )
        if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise UserError(f"{self.output} needs one more package: pip install 'fpcn-lightning[parquet]'.")

    def _check_task(self, task: Mapping[str, object]) -> None:
        try:
            same = json.loads(self._note.read_text(encoding="utf-8")) == task
        except ValueError:
            same = False
        if not same:
            raise UserError(
                f"{self.output} holds unfinished results of another bundle, source or options: name another file with "
                "--output, or say --overwrite."
            )

    def _repaired(self) -> Iterator[Mapping[str, object]]:
        """The rows there are, after the file was cut behind the last whole line."""
        data = self._lines.read_bytes() if self._lines.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self._lines, len(whole))
        return self._parsed(whole)

    def _parsed(self, data: bytes) -> Iterator[Mapping[str, object]]:
        try:
            lines = data.decode("utf-8-sig").split("\n")[:-1]  # a file name may hold other ends of lines
            rows: Iterable[Mapping[str, object]] = _csv_rows(lines) if self._is_csv else map(json.loads, lines)
            for row in rows:
                if list(row) != self.columns:
                    raise ValueError("a line with other columns")
                yield row
        except (ValueError, TypeError, csv.Error) as error:
            raise UserError(f"{self._lines} is damaged ({error}): remove it, or say --overwrite.") from error

    def _finish(self) -> None:
        if write := CONVERTED.get(self.output.suffix.lower()):
            write(self._parsed(self._lines.read_bytes()), self.columns, self._temporary)
            self._temporary.replace(self.output)
        self._note.unlink()
        if self._lines != self.output:
            self._lines.unlink()


def _csv_rows(lines: list[str]) -> Iterator[Mapping[str, object]]:
    rows = csv.reader(lines)
    header = next(rows, [])
    return (dict(zip(header, cells, strict=True)) for cells in rows)
