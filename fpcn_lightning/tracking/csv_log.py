"""The log `metrics.csv` of a run, which an interrupted run continues, and which no crash makes unreadable."""

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from fpcn_lightning.report.curves import METRICS_NAME, counted_from_zero
from fpcn_lightning.runs.atomic_write import write_text_atomically, writing
from fpcn_lightning.runs.damaged import set_aside
from fpcn_lightning.tracking.epochs import from_one

logger = logging.getLogger(__name__)

Row = dict[str, str]


class CSVLog(CSVLogger):
    """Lightning's logger, which would delete the file of the interrupted run that is resumed.

    Epochs are counted from 1; those of a file that an earlier version began are converted when it is opened.

    Lines that a crash has damaged are removed when the file is opened. Lines about steps that the resumed run trains
    again are removed by `resume`, or when it logs the first of them.

    Args:
        save_dir: the run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir=save_dir, name="", version="", flush_logs_every_n_steps=1)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What writes the file, opened at the first access.

        Raises:
            WriteError: it cannot be written.
        """
        return self._writer()

    @property
    def rows(self) -> int:
        """Number of lines without the header."""
        return self._writer().rows

    def resume(self, rows: int, further: Mapping[str, Any] | None) -> None:
        """Remove the lines after the first `rows`, and add one.

        Args:
            rows: how many there were when the checkpoint was saved.
            further: `metrics` and `step` of a line that was about to be logged then; None: there was none.

        Raises:
            WriteError: the file cannot be written.
        """
        self._writer().cut(rows)
        if further is not None:
            self.log_metrics(further["metrics"], further["step"])
            self.save()

    def _writer(self) -> "_Writer":
        if self._experiment is None:
            folder = Path(self.log_dir)
            with writing(folder / METRICS_NAME):
                folder.mkdir(parents=True, exist_ok=True)
                self._experiment = _Writer(self.log_dir)
        return cast(_Writer, self._experiment)


class _Writer(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._path = Path(self.metrics_file_path)
        self.metrics_keys = _repaired(self._path)
        self._continues = bool(self.metrics_keys)
        rows = _read(self._path)[1] if self._continues else []
        self.rows = len(rows)
        if counted_from_zero(row.get("epoch", "") for row in rows):
            self._replace([_converted(row) for row in rows])

    def cut(self, rows: int) -> None:
        """Remove the lines after the first `rows`."""
        if self._continues:
            self._continues = False
            self._replace(_read(self._path)[1][:rows])

    def _replace(self, rows: list[Row]) -> None:
        _write(self._path, self.metrics_keys, rows)
        self.rows = len(rows)

    def _check_log_dir_exists(self) -> None:
        """Lightning would delete the file here."""

    def log_hparams(self, params: dict[str, Any]) -> None:
        with writing(Path(self.log_dir) / self.NAME_HPARAMS_FILE):
            super().log_hparams(params)

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if self._continues and step is not None:
            self._continues = False
            self._replace([row for row in _read(self._path)[1] if int(row["step"]) < step])
        super().log_metrics(from_one(metrics_dict), step)
        self.rows += 1

    def save(self) -> None:
        with writing(self._path):
            super().save()

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        _write(self._path, fieldnames, _read(self._path)[1])


def _converted(row: Row) -> Row:
    """A line of an earlier version, with its epoch counted from 1."""
    return {**row, "epoch": str(int(row["epoch"]) + 1)} if row["epoch"].isdecimal() else row


def _repaired(path: Path) -> list[str]:
    """The columns of a log, after its damaged lines were removed; none where there is no log or nothing of it is left.

    A file without a header that can be read is renamed.
    """
    if not path.exists():
        return []
    columns, rows, damaged = _read(path)
    if not columns:
        set_aside(path)
    elif damaged:
        logger.warning("%d damaged lines of %s are removed", damaged, path)
        _write(path, columns, rows)
    return columns


def _read(path: Path) -> tuple[list[str], list[Row], int]:
    """The columns, the whole rows, and the number of damaged lines."""
    *lines, unfinished = path.read_text(encoding="utf-8", errors="replace").split("\n")
    columns = lines[0].strip("\r").split(",") if lines else []
    if "step" not in columns or "\0" in lines[0]:
        return [], [], len(lines)
    rows, damaged = [], int(bool(unfinished))
    for line in lines[1:]:
        cells = next(csv.reader([line.strip("\r")]), []) if "\0" not in line else []
        row = dict(zip(columns, cells, strict=False))
        if len(cells) == len(columns) and row["step"].isdecimal():
            rows.append(row)
        else:
            damaged += 1
    return columns, rows, damaged


def _write(path: Path, columns: list[str], rows: list[Row]) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, buffer.getvalue())
