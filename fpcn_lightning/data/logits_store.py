"""A teacher's logits of every training image in every epoch, computed once for all of its students.

A view is a pure function of (seed, epoch, image), so its logits can be stored. A store is a folder: `key.json` holds
what the logits depend on, and each epoch is one file, written in a single step. An interrupted computation continues
with the epochs that are missing, a longer training adds epochs, and several processes divide the epochs among them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.runs.atomic_write import atomic_write, write_text_atomically
from fpcn_lightning.runs.sameness import flatten

KEY_NAME = "key.json"
SCHEMA = 1

EpochLogits = Callable[[int], NDArray[np.float32]]
"""The logits [N, C] of the N training pictures in an epoch, in the order of the split."""


class LogitsStore:
    """The logits of one teacher for one set of views.

    Args:
        folder: of the store; it is created.
        key: what the logits depend on, as plain data: hash of the teacher, fingerprint of the data, augmentation,
            sizes.
        pictures: number N of training pictures.
        classes: number C of classes.

    Raises:
        UserError: the folder is not empty and not a store, or holds logits that depend on something else.
        WriteError: it cannot be written to.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], pictures: int, classes: int) -> None:
        self.folder = folder
        self.shape = (pictures, classes)
        self._check_key({"schema": SCHEMA, **key})
        self._opened: dict[int, NDArray[np.float32]] = {}

    def epoch(self, number: int) -> NDArray[np.float32]:
        """The logits [N, C] in epoch `number`.

        Raises:
            UserError: they are missing or damaged.
        """
        if number not in self._opened:
            self._opened = {number: self._read(number)}  # one epoch at a time is in use
        return self._opened[number]

    def fill(self, epochs: int, prediction: EpochLogits, progress: Callable[[int], object] = int) -> int:
        """Compute those of the epochs 0 to `epochs` - 1 that are missing and that no other process is computing.

        It returns when all of them are stored.

        Args:
            epochs: of the training.
            prediction: computes the logits of an epoch.
            progress: called with the number of each epoch that this process has computed.

        Returns:
            The number of epochs that this process has computed.

        Raises:
            UserError: the logits are NaN or infinite.
            WriteError: they cannot be written.
        """
        wanted = range(epochs)
        computed = sum(self._fill(number, prediction, progress, wait=False) for number in wanted)
        computed += sum(self._fill(number, prediction, progress, wait=True) for number in wanted)
        return computed

    def has(self, number: int) -> bool:
        """Whether an epoch is stored."""
        return self._path(number).exists()

    def _fill(self, number: int, prediction: EpochLogits, progress: Callable[[int], object], *, wait: bool) -> bool:
        if self.has(number):
            return False
        try:
            with FileLock(self.folder / f".epoch-{number:04}.lock", timeout=-1 if wait else 0):
                if self.has(number):
                    return False
                self._write(number, prediction(number))
        except Timeout:
            return False
        progress(number)
        return True

    def _write(self, number: int, logits: NDArray[np.float32]) -> None:
        if logits.shape != self.shape:
            raise ValueError(f"logits of shape {logits.shape} instead of {self.shape}")
        if not np.isfinite(logits).all():
            raise UserError(
                f"the teacher's logits of epoch {number} are NaN or infinite: its training diverged. Use another one."
            )
        try:
            with atomic_write(self._path(number)) as temporary, temporary.open("wb") as file:
                np.save(file, logits.astype(np.float32), allow_pickle=False)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def _read(self, number: int) -> NDArray[np.float32]:
        path = self._path(number)
        try:
            logits: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(
                f"{path}, a teacher's stored logits, cannot be read ({error}): remove it and start the run again."
            ) from error
        if logits.shape != self.shape or logits.dtype != np.float32:
            raise UserError(
                f"{path} does not hold logits of {self.shape[0]} pictures and {self.shape[1]} classes: remove it "
                "and start the run again."
            )
        return logits

    def _path(self, number: int) -> Path:
        return self.folder / f"epoch-{number:04}.npy"

    def _check_key(self, key: Mapping[str, Any]) -> None:
        path = self.folder / KEY_NAME
        text = json.dumps(key, indent=2, ensure_ascii=False) + "\n"
        if not path.exists():
            # Hidden files may be those of another process that is creating the store.
            if self.folder.is_dir() and any(not path.name.startswith(".") for path in self.folder.iterdir()):
                raise UserError(
                    f"distillation.store={self.folder} is not empty and not a store of logits: give an empty folder, "
                    "or do not set distillation.store."
                )
            try:
                write_text_atomically(path, text)
            except OSError as error:
                raise _unwritable(self.folder, error) from error
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): remove the folder {self.folder}.") from error
        wanted = json.loads(text)
        if found != wanted:
            raise UserError(
                f"distillation.store={self.folder} is stale: {_difference(found, wanted)}. Remove the folder, or do "
                "not set distillation.store."
            )


def _unwritable(folder: Path, error: OSError) -> WriteError:
    advice = "set distillation.store=FOLDER, or run the teacher in every step with distillation.stored=false"
    return WriteError.of(folder, error, advice)


def store_name(key: Mapping[str, Any]) -> str:
    """A folder name for the logits that depend on `key`."""
    return f"logits-{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}"


def _difference(found: object, wanted: object) -> str:
    """The first entry in which two keys differ, as text."""
    old, new = flatten(found), flatten(wanted)
    key = next(key for key in {**new, **old} if old.get(key) != new.get(key))
    return f"its {key} is {old.get(key)}, that of this run {new.get(key)}"
