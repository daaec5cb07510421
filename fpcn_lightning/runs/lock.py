"""The lock of a run folder: one process trains there, and others can tell whether it is still alive.

The operating system releases the lock when the process ends, however it ends. `filelock` is imported where it is used:
every start of the program imports this file, and filelock takes a tenth of a second.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import RunInUse
from fpcn_lightning.runs.atomic_write import writing

LOCK_NAME = ".lock"


@contextlib.contextmanager
def hold_lock(folder: Path, advice: str = "name this run with variant=NAME") -> Iterator[None]:
    """Keep every other process out of a run folder, which is made where it is missing.

    Args:
        folder: of the run.
        advice: what to do instead of waiting, for the message.

    Raises:
        RunInUse: another process holds the lock.
        WriteError: the folder cannot be made or written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK_NAME, timeout=0)
    try:
        with writing(folder / LOCK_NAME):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
    except Timeout as error:
        raise RunInUse(f"another process is training in {folder}: let it finish, or {advice}.") from error
    try:
        yield
    finally:
        lock.release()


def is_abandoned(folder: Path) -> bool:
    """Whether a run folder has a lock that no process holds; False where that cannot be found out."""
    from filelock import FileLock, Timeout

    lock = folder / LOCK_NAME
    if not lock.exists():
        return False  # a copy of a run folder need not have it
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False
