"""Answers on disk, row by row of windows, so that a run that was cut off goes on where it stopped."""

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.cutting import Cut
from fpcn_lightning.field.model import Outputs

KEY, DAMAGED = "key.json", "damaged.json"
ARRAYS = ("probabilities", "scores", "coverage", "done")
FILES = (KEY, DAMAGED, *(f"{name}.part" for name in (KEY, DAMAGED)), *(f"{name}.npy" for name in ARRAYS))
"""All that is ever kept; the key comes first, since without it the others mean nothing."""

_SHOWN = 24  # characters of a value in the key

Numbers = np.memmap[Any, np.dtype[np.float32]]
Flags = np.memmap[Any, np.dtype[np.bool_]]


class Kept:
    """A folder of answers; its owner sees to it that no other process writes into it.

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
        coverage: bool, by cells.
        done: bool [rows], which rows of windows are answered.
        damaged: level and index of the segments that could not be read so far.

    Raises:
        UserError: the answers of another key, or damaged ones; or they do not fit on the disk.
    """

    def __init__(
        self, folder: Path, key: Mapping[str, object], *, rows: int, columns: int, classes: int, cells: tuple[int, int]
    ) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / KEY).exists():
            self._check(key)
        else:
            self._begin(key, (rows, columns, classes), (rows, columns), cells, (rows,))
        self.probabilities: Numbers = self._opened("probabilities")
        self.scores: Numbers = self._opened("scores")
        self.coverage: Flags = self._opened("coverage")
        self.done: Flags = self._opened("done")
        self.damaged = self._damaged()

    def write(self, cut: Cut, outputs: Outputs | None) -> None:
        """Keep what the network said of the windows of a chunk that it was asked about; None where there are none."""
        row, columns = cut.chunk.row, np.array(cut.chunk.columns)
        self.coverage[cut.cells] = cut.coverage
        self.probabilities[row, columns] = self.scores[row, columns] = np.nan
        if outputs is not None:
            predicted = np.isfinite(outputs.probabilities).all(1) & np.isfinite(outputs.score)
            columns = columns[cut.asked][predicted]
            self.probabilities[row, columns] = outputs.probabilities[predicted]
            self.scores[row, columns] = outputs.score[predicted]

    def finish(self, row: int, damaged: Iterable[tuple[int, int]]) -> None:
        """Mark a row as answered, once its answers are on the disk."""
        if not self.damaged.issuperset(damaged):
            self.damaged.update(damaged)
            self._note(DAMAGED, sorted(self.damaged))
        for array in (self.probabilities, self.scores, self.coverage):
            array.flush()
        self.done[row] = True
        self.done.flush()

    def _begin(self, key: Mapping[str, object], *shapes: tuple[int, ...]) -> None:
        kinds = (np.float32, np.float32, np.bool_, np.bool_)
        needed = sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in zip(shapes, kinds, strict=True))
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise UserError(
                f"{self._folder} needs {needed / 1e9:.3g} GB, and its disk has {free / 1e9:.3g} GB left: make room, "
                "name another folder, or look at fewer windows (--overlap, --window-px)."
            )
        # Written out, not left as holes: a full disk is an error here, and would kill the process in a memory map.
        for name, shape, kind in zip(ARRAYS, shapes, kinds, strict=True):
            np.save(self._place(name), np.zeros(shape, kind))
        (self._folder / DAMAGED).unlink(missing_ok=True)
        self._note(KEY, key)  # last: without it, the next start begins anew

    def _check(self, key: Mapping[str, object]) -> None:
        old, new = self._noted(KEY), json.loads(json.dumps(key))
        if not isinstance(old, dict):
            raise self._unusable(self._folder / KEY, "no key")
        other = [
            f"{name} was {str(old.get(name))[:_SHOWN]} and is {str(new.get(name))[:_SHOWN]}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]
        if other:
            raise UserError(
                f"{self._folder} holds unfinished answers of another bundle, section or options ({'; '.join(other)}): "
                "name another folder with --output, or say --overwrite to begin anew."
            )

    def _opened(self, name: str) -> Any:
        try:
            return open_memmap(self._place(name), mode="r+")
        except (OSError, ValueError) as error:
            raise self._unusable(self._place(name), error) from error

    def _damaged(self) -> set[tuple[int, int]]:
        if not (self._folder / DAMAGED).exists():
            return set()
        segments = self._noted(DAMAGED)
        try:
            return {(int(level), int(index)) for level, index in segments}
        except (TypeError, ValueError) as error:
            raise self._unusable(self._folder / DAMAGED, error) from error

    def _noted(self, name: str) -> Any:
        try:
            return json.loads((self._folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._unusable(self._folder / name, error) from error

    def _note(self, name: str, content: object) -> None:
        temporary = self._folder / f"{name}.part"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self._folder / name)

    def _place(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    @staticmethod
    def _unusable(path: Path, reason: object) -> UserError:
        return UserError(f"{path} is damaged ({reason}): say --overwrite to begin anew.")
