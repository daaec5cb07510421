"""Answers on disk, row by row of windows, so that a run that was cut off goes on where it stopped."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.lib.format import open_memmap

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.cutting import Cut
from fpcn_lightning.field.model import Outputs

KEY, DAMAGED = "key.json", "damaged.json"
ARRAYS = ("probabilities", "scores", "shares", "coverage", "done")

Numbers = np.memmap[Any, np.dtype[np.float32]]
Flags = np.memmap[Any, np.dtype[np.bool_]]


class Kept:
    """A folder of answers, a context manager that holds it against other processes.

    Args:
        folder: made where it is missing; whatever it holds of another key is refused.
        key: what is computed, as JSON knows it: answers of two runs with the same key belong together.
        rows: of windows.
        columns: likewise.
        classes: of the network.
        cells: rows and columns of the cells.

    Attributes:
        probabilities: float32 [rows, columns, classes], a memory map like all of these.
        scores: float32 [rows, columns].
        shares: float32 [rows, columns].
        coverage: bool, by cells.
        done: bool [rows], which rows of windows are answered.
        damaged: level and index of the segments that could not be read so far.

    Raises:
        UserError: the answers of another key, or damaged ones; or another process is writing them.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, object], *, rows: int, columns: int, classes: int, cells: tuple[int, int]
    ) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise UserError(f"another process is writing {folder}: let it finish, or name another folder.") from None
        try:
            if (folder / KEY).exists():
                self._check(key)
            else:
                grid = (rows, columns)
                self._begin(key, (*grid, classes), grid, grid, cells, (rows,))
            self.probabilities: Numbers = self._opened("probabilities")
            self.scores: Numbers = self._opened("scores")
            self.shares: Numbers = self._opened("shares")
            self.coverage: Flags = self._opened("coverage")
            self.done: Flags = self._opened("done")
            self.damaged = self._damaged()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def write(self, cut: Cut, outputs: Outputs | None) -> None:
        """Keep what the network said of the windows of a chunk that it was asked about; None where there are none."""
        row, columns = cut.chunk.row, np.array(cut.chunk.columns)
        self.shares[row, columns] = cut.shares
        self.coverage[cut.cells] = cut.coverage
        self.probabilities[row, columns] = self.scores[row, columns] = np.nan
        if outputs is not None:
            answered = np.isfinite(outputs.probabilities).all(1) & np.isfinite(outputs.score)
            columns = columns[cut.asked][answered]
            self.probabilities[row, columns] = outputs.probabilities[answered]
            self.scores[row, columns] = outputs.score[answered]

    def finish(self, row: int, damaged: Iterable[tuple[int, int]]) -> None:
        """Mark a row as answered, once its answers are on the disk."""
        if not self.damaged.issuperset(damaged):
            self.damaged.update(damaged)
            self._note(DAMAGED, sorted(self.damaged))
        for array in (self.probabilities, self.scores, self.shares, self.coverage):
            array.flush()
        self.done[row] = True
        self.done.flush()

    def _begin(self, key: Mapping[str, object], *shapes: tuple[int, ...]) -> None:
        # Written out, not left as holes: a full disk is an error here, and would kill the process in a memory map.
        for name, shape in zip(ARRAYS, shapes, strict=True):
            np.save(self._place(name), np.zeros(shape, np.bool_ if name in ("coverage", "done") else np.float32))
        (self._folder / DAMAGED).unlink(missing_ok=True)
        self._note(KEY, key)  # last: without it, the next start begins anew

    def _check(self, key: Mapping[str, object]) -> None:
        try:
            same = json.loads((self._folder / KEY).read_text(encoding="utf-8")) == key
        except ValueError:
            same = False
        if not same:
            raise UserError(
                f"{self._folder} holds unfinished answers of another bundle, section or options: name another folder, "
                "or say --overwrite."
            )

    def _opened(self, name: str) -> Any:
        try:
            return open_memmap(self._place(name), mode="r+")
        except (OSError, ValueError) as error:
            raise UserError(f"{self._place(name)} is damaged ({error}): remove it, or say --overwrite.") from error

    def _damaged(self) -> set[tuple[int, int]]:
        path = self._folder / DAMAGED
        segments = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return {(level, index) for level, index in segments}

    def _note(self, name: str, content: object) -> None:
        temporary = self._folder / f"{name}.part"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self._folder / name)

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def _release(self) -> None:
        with contextlib.suppress(OSError):  # Windows lets nobody remove a file that is open
            Path(self._lock.lock_file).unlink()
        self._lock.release()
