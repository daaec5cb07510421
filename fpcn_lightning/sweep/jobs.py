"""A job of a sweep, and how it ended."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fpcn_lightning.errors import RunInUse

Outcome = Literal["finished", "skipped", "taken", "failed"]


@dataclass(frozen=True)
class Job:
    """One process: `name` such as mask/seed-0, the folder that it fills, and its command."""

    name: str
    folder: Path
    command: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """A job that came to its end.

    Attributes:
        returncode: its exit code; minus the number of the signal that killed it.
        seconds: how long it took.
        log: what it printed, after what earlier attempts printed.
        skipped: whether it found its folder's result finished already.
        reason: why it failed: the signal that ended it, or the last line that it printed.
    """

    job: Job
    returncode: int
    seconds: float
    log: Path
    skipped: bool = False
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """What became of the job; `taken`: its folder is in the hands of another process."""
        if self.returncode == RunInUse.exit_code:
            return "taken"
        if self.returncode != 0:
            return "failed"
        return "skipped" if self.skipped else "finished"
