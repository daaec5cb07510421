"""Threads that compute results in advance, and a lock that lets only one process write an output."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from fpcn_lightning.errors import UserError

Item = TypeVar("Item")
ItemResult = TypeVar("ItemResult")


def prefetch(
    function: Callable[[Item], ItemResult], items: Iterable[Item], workers: int, max_pending: int
) -> Generator[ItemResult]:
    """Results in the order of the items, computed by `workers` threads, at most `max_pending` in advance."""
    pending: deque[Future[ItemResult]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) == max_pending:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def acquire_output_lock(lock_file: Path, output: Path, kind: str) -> FileLock:
    """Lock an output for this process.

    Args:
        lock_file: the file of the lock.
        output: what is locked, for the message.
        kind: "file" or "folder", likewise.

    Raises:
        UserError: another process has the lock.
    """
    lock = FileLock(lock_file, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process is writing {output}: let it finish, or choose another {kind}.") from None
    return lock


def release_output_lock(lock: FileLock) -> None:
    """Release a lock and remove its file."""
    with contextlib.suppress(OSError):  # Windows does not remove a file that is open
        Path(lock.lock_file).unlink()
    lock.release()
