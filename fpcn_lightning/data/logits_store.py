"""What a teacher says of every training picture in every epoch, computed once for all students that it teaches.

A view is a pure function of (seed, epoch, picture), so the answer to it can be kept. A store is a folder: `key.json`
says what the answers depend on, and each epoch is a file of its own, written in a single step: a pass that was cut off
goes on with the epochs that are missing, a longer training adds some, and several processes share them out.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_write, write_text_atomically
from fpcn_lightning.runs.sameness import flatten

KEY_NAME = "key.json"
SCHEMA = 1

EpochLogits = Callable[[int], NDArray[np.float32]]
"""The logits [N, C] of the N training pictures in an epoch, in the order of the split."""


class LogitsStore:
    """The logits of one teacher for one set of views.

    Args:
        folder: where they lie.
        key: whatever the answers depend on, as JSON takes it: hash of the teacher, fingerprint of the data,
            augmentation, sizes.
        pictures: number N of training pictures.
        classes: number C of classes.

    Raises:
        UserError: the folder holds the answers to something else, or what is no store.
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
        """Compute what is missing of the epochs 0 to `epochs` - 1; those that another process is at are its share.

        Args:
            epochs: of the training.
            answer: asks the teacher.
            progress: hears the number of each epoch that this process has computed.

        Returns:
            how many epochs this process has computed.

        Raises:
            UserError: a file is damaged.
        """
        wanted = range(epochs)
        computed = sum(self._fill(number, prediction, progress, wait=False) for number in wanted)
        computed += sum(self._fill(number, prediction, progress, wait=True) for number in wanted)
        return computed

    def has(self, number: int) -> bool:
        """Whether an epoch is there."""
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
            raise UserError("the teacher answers with what is no number: it has diverged; train another.")
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
                f"{path}, a teacher's stored answers, cannot be read ({error}): remove it, and start again."
            ) from error
        if logits.shape != self.shape or logits.dtype != np.float32:
            raise UserError(f"{path} does not hold a teacher's answers to {self.shape[0]} pictures: remove it.")
        return logits

    def _path(self, number: int) -> Path:
        return self.folder / f"epoch-{number:04}.npy"

    def _check_key(self, key: Mapping[str, Any]) -> None:
        path = self.folder / KEY_NAME
        text = json.dumps(key, indent=2, ensure_ascii=False) + "\n"
        if not path.exists():
            # Hidden files may be those of a process that makes the store at this moment.
            if self.folder.is_dir() and any(not path.name.startswith(".") for path in self.folder.iterdir()):
                raise UserError(f"distillation.store={self.folder} is no store of a teacher's answers, and not empty.")
            try:
                write_text_atomically(path, text)
            except OSError as error:
                raise _unwritable(self.folder, error) from error
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): remove {self.folder}.") from error
        wanted = json.loads(text)
        if found != wanted:
            raise UserError(
                f"distillation.store={self.folder} is stale: {_difference(found, wanted)}. Remove the folder, or leave "
                "distillation.store out."
            )


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"the teacher's answers cannot be stored in {folder} ({error.strerror}): set distillation.store=FOLDER, or ask "
        "the teacher in every step with distillation.stored=false."
    )


def store_name(key: Mapping[str, Any]) -> str:
    """A folder name for the answers that depend on `key`."""
    return f"logits-{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}"


def _difference(found: object, wanted: object) -> str:
    """The first leaf in which two keys differ, in words."""
    old, new = flatten(found), flatten(wanted)
    key = next(key for key in {**new, **old} if old.get(key) != new.get(key))
    return f"its {key} is {old.get(key)}, that of this run {new.get(key)}"
