"""The status of a run for a reader: that of its record, unless its process has died without changing it."""

from typing import NamedTuple

from fpcn_lightning.runs.lock import is_abandoned
from fpcn_lightning.runs.results import Run

LOG_NAME = "output.log"


class RunStatus(NamedTuple):
    """One word, and what went wrong."""

    status: str
    error: str | None


def status_of(run: Run) -> RunStatus:
    """The status and the error of a run; `died` where the record says `running` and no process holds the lock."""
    folder, result = run
    if result["status"] == "running" and is_abandoned(folder):
        log = f": see {LOG_NAME}" if (folder / LOG_NAME).exists() else ""
        return RunStatus("died", f"exited without an error message, perhaps killed{log}")
    if result["status"] == "interrupted":
        return RunStatus("interrupted", "stopped from outside; the same command resumes it")
    return RunStatus(result["status"], result["error"])
