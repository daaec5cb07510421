"""The log `metrics.csv` of a run, which an interrupted run continues, and which no crash makes unreadable."""

import csv
import io
import logging
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from fpcn_lightning.report.curves import METRICS_NAME
from fpcn_lightning.runs.atomic_write import write_text_atomically, writing
from fpcn_lightning.runs.damaged import set_aside

logger = logging.getLogger(__name__)

Row = dict[str, str]


class CSVLog(CSVLogger):
    """Lightning's logger, which would delete the file of the interrupted run that is resumed.

    Lines that a crash has damaged are removed when the file is opened. Lines about steps that the resumed run trains
    again are removed when it logs the first of them.

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
        if self._experiment is None:
            folder = Path(self.log_dir)
            with writing(folder / METRICS_NAME):
                folder.mkdir(parents=True, exist_ok=True)
                self._experiment = _Writer(self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._path = Path(self.metrics_file_path)
        self.metrics_keys = _repaired(self._path)
        self._continues = bool(self.metrics_keys)

    def _check_log_dir_exists(self) -> None:
        """Lightning would delete the file here."""

    def log_hparams(self, params: dict[str, Any]) -> None:
        with writing(Path(self.log_dir) / self.NAME_HPARAMS_FILE):
            super().log_hparams(params)

    def log_metrics(self, metrics_dict: dict[str, float], step: int | None = None) -> None:
        if self._continues and step is not None:
            self._continues = False
            _, rows, _ = _read(self._path)
            _write(self._path, self.metrics_keys, [row for row in rows if int(row["step"]) < step])
        super().log_metrics(metrics_dict, step)

    def save(self) -> None:
        with writing(self._path):
            super().save()

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        _write(self._path, fieldnames, _read(self._path)[1])


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
