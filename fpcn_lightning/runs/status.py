"""How a run ended, in words for a reader."""

from pathlib import Path
from typing import NamedTuple

from fpcn_lightning.runs.results import Run

LOCK_NAME = ".lock"  # held by the process that trains, for as long as it lives
LOG_NAME = "output.log"


class Ending(NamedTuple):
    """A word, and what went wrong."""

    status: str
    error: str | None


def ending(run: Run) -> Ending:
    """The status and the error of a run's record, where these are all that there is to say."""
    folder, result = run
    if result["status"] == "running" and _was_left(folder / LOCK_NAME):
        log = f": see {LOG_NAME}" if (folder / LOG_NAME).exists() else ""
        return Ending("died", f"ended without a word, perhaps killed{log}")
    if result["status"] == "interrupted":
        return Ending("interrupted", "it was told to stop; the same command takes it up again")
    return Ending(result["status"], result["error"])


def _was_left(lock: Path) -> bool:
    """Whether nobody holds a lock any longer; no, where that cannot be known."""
    from filelock import FileLock, Timeout

    if not lock.exists():
        return False  # a copy of a run folder need not have it
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError):
        return False
