"""Predictions on disk, written row by row of windows, so that an interrupted run resumes where it stopped."""

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.classify.grid import CellGrid, WindowChunk, WindowGrid
from fpcn_lightning.field.model import ModelOutputs
from fpcn_lightning.runs.atomic_write import leftovers, write_text_atomically

KEY, DAMAGED = "key.json", "damaged.json"
ARRAYS = ("probabilities", "scores", "coverage", "done", "digests")
FORMAT = 2  # of the folder; the first had no digests

DIGEST_BYTES = 32  # of SHA-256
_MAX_SHOWN = 24  # characters of a value of the key in a message

FloatMemmap = np.memmap[Any, np.dtype[np.float32]]
BoolMemmap = np.memmap[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class WindowPredictions:
    """The predictions for all windows of a section.

    Attributes:
        windows: where the network looked.
        cells: of the maps.
        probabilities: float32 [rows, columns, C], a memory map; NaN where there is no prediction: less than half of the
            part that the window stands for is known, or the network returned NaN or an infinite number.
        scores: float32 [rows, columns], likewise.
        coverage: bool, by cells: at least half of the cell is known.
        damaged: number of segments of the file that could not be read.
    """

    windows: WindowGrid
    cells: CellGrid
    probabilities: NDArray[np.float32]
    scores: NDArray[np.float32]
    coverage: NDArray[np.bool_]
    damaged: int


class PredictionStore:
    """A folder of predictions; the caller ensures that no other process writes to it.

    Args:
        folder: created if it does not exist; predictions with another key in it are refused.
        key: what is computed, as JSON: the predictions of two runs with the same key can be combined.
        rows: of windows.
        columns: of windows.
        classes: of the network.
        cells: rows and columns of the cells.

    Attributes:
        probabilities: float32 [rows, columns, classes], a memory map like all of these.
        scores: float32 [rows, columns].
        coverage: bool, by cells.
        done: bool [rows], the rows of windows that are finished.
        digests: uint8 [rows, DIGEST_BYTES], of what the section's file had where these were cut.
        damaged: level and index of the segments that could not be read so far.

    Raises:
        UserError: the folder has predictions with another key or damaged ones, or the disk is too small.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, object], *, rows: int, columns: int, classes: int, cells: tuple[int, int]
    ) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / KEY).exists():
            self._check_key(key)
        else:
            self._create(key, (rows, columns, classes), (rows, columns), cells, (rows,), (rows, DIGEST_BYTES))
        self.probabilities: FloatMemmap = self._open("probabilities")
        self.scores: FloatMemmap = self._open("scores")
        self.coverage: BoolMemmap = self._open("coverage")
        self.done: BoolMemmap = self._open("done")
        self.digests: np.memmap[Any, np.dtype[np.uint8]] = self._open("digests")
        self.damaged = self._read_damaged()

    def write_coverage(self, cells: tuple[slice, slice], coverage: NDArray[np.bool_]) -> None:
        """Store which of some cells are known, bool [h, w]."""
        self.coverage[cells] = coverage

    def write_predictions(self, chunk: WindowChunk, selected: NDArray[np.bool_], outputs: ModelOutputs | None) -> None:
        """Store what the network predicts for the `selected` windows of a chunk, bool [N]; None if there are none."""
        row, columns = chunk.row, np.array(chunk.columns)
        self.probabilities[row, columns] = self.scores[row, columns] = np.nan
        if outputs is not None:
            finite = np.isfinite(outputs.probabilities).all(1) & np.isfinite(outputs.score)
            columns = columns[selected][finite]
            self.probabilities[row, columns] = outputs.probabilities[finite]
            self.scores[row, columns] = outputs.score[finite]

    def finish_row(self, row: int, damaged: Iterable[tuple[int, int]], digest: bytes) -> None:
        """Mark a row of windows as finished, after its predictions and its digest are on the disk."""
        if not self.damaged.issuperset(damaged):
            self.damaged.update(damaged)
            self._write_json(DAMAGED, sorted(self.damaged))
        self.digests[row] = np.frombuffer(digest, np.uint8)
        for array in (self.probabilities, self.scores, self.coverage, self.digests):
            array.flush()
        self.done[row] = True
        self.done.flush()

    def _create(self, key: Mapping[str, object], *shapes: tuple[int, ...]) -> None:
        dtypes = (np.float32, np.float32, np.bool_, np.bool_, np.uint8)
        needed = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in zip(shapes, dtypes, strict=True))
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise UserError(
                f"{self._folder} needs {needed / 1e9:.3g} GB, but its disk has {free / 1e9:.3g} GB left: make room, "
                "choose another folder, or use fewer windows (--overlap, --window-px)."
            )
        # Written in full, not as sparse files: a full disk is an error here, but kills the process in a memory map.
        for name, shape, dtype in zip(ARRAYS, shapes, dtypes, strict=True):
            np.save(self._array_path(name), np.zeros(shape, dtype))
        (self._folder / DAMAGED).unlink(missing_ok=True)
        self._write_json(KEY, key)  # last: without it, the next run starts from the beginning

    def _check_key(self, key: Mapping[str, object]) -> None:
        old, new = self._read_json(KEY), json.loads(json.dumps(key))
        if not isinstance(old, dict):
            raise self._damaged_file(self._folder / KEY, "no key")
        differences = [
            f"{name} was {str(old.get(name))[:_MAX_SHOWN]} and is {str(new.get(name))[:_MAX_SHOWN]}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]
        if differences:
            raise UserError(
                f"{self._folder} contains unfinished predictions of another bundle, section or options "
                f"({'; '.join(differences)}): choose another folder with --output, or pass --overwrite to start again."
            )

    def _open(self, name: str) -> Any:
        try:
            return open_memmap(self._array_path(name), mode="r+")
        except (OSError, ValueError) as error:
            raise self._damaged_file(self._array_path(name), error) from error

    def _read_damaged(self) -> set[tuple[int, int]]:
        if not (self._folder / DAMAGED).exists():
            return set()
        segments = self._read_json(DAMAGED)
        try:
            return {(int(level), int(index)) for level, index in segments}
        except (TypeError, ValueError) as error:
            raise self._damaged_file(self._folder / DAMAGED, error) from error

    def _read_json(self, name: str) -> Any:
        try:
            return json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._damaged_file(self._folder / name, error) from error

    def _write_json(self, name: str, content: object) -> None:
        write_text_atomically(self._folder / name, json.dumps(content))

    def _array_path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    @staticmethod
    def _damaged_file(path: Path, reason: object) -> UserError:
        return UserError(f"{path} is damaged ({reason}): pass --overwrite to start again.")


def store_files(folder: Path) -> list[Path]:
    """Every path that a store may use in its folder, those of interrupted writes too.

    The key comes first: without it, the others are not used.
    """
    paths = [folder / KEY, folder / DAMAGED, *(folder / f"{name}.npy" for name in ARRAYS)]
    return [*paths, *(path for name in (KEY, DAMAGED) for path in leftovers(folder / name))]
