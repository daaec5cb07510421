"""The lock of a run folder: one process trains there, and others can tell whether it is still alive.

The operating system releases the lock when the process ends, however it ends. `filelock` is imported where it is used:
every start of the program imports this file, and filelock takes a tenth of a second.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import RunInUse

LOCK_NAME = ".lock"


@contextlib.contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Keep every other process out of a run folder, which is made where it is missing.

    Raises:
        RunInUse: another process holds the lock.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK_NAME, timeout=0):
            yield
    except Timeout as error:
        raise RunInUse(
            f"another process is training in {folder}: let it finish, or name this run with variant=NAME."
        ) from error


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
