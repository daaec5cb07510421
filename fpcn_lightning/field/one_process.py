"""One process at a time writes to one place."""

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout

from fpcn_lightning.errors import UserError


def acquired(place: Path, output: Path, kind: str) -> FileLock:
    """The lock of an output, held by this process.

    Args:
        place: the file of the lock.
        output: what is locked, for people.
        kind: what it is, for people.

    Raises:
        UserError: another process holds it.
    """
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process is writing {output}: let it finish, or name another {kind}.") from None
    return lock


def release(lock: FileLock) -> None:
    """Let go of a lock, and leave no file of it behind."""
    with contextlib.suppress(OSError):  # Windows lets nobody remove a file that is open
        Path(lock.lock_file).unlink()
    lock.release()
