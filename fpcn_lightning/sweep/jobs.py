"""A job of a sweep: as it was composed, as a process, and how it ended."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fpcn_lightning.errors import RunInUse, UserError
from fpcn_lightning.runs.status import LOG_NAME

Outcome = Literal["finished", "skipped", "taken", "failed"]


@dataclass(frozen=True)
class ComposedJob:
    """A job of a sweep whose config has been composed.

    Attributes:
        number: in the sweep, from 0.
        name: its folder relative to the sweep's, with slashes, such as mask/seed-0.
        folder: that it fills.
        overrides: the words that it was composed from.
        task: its `task`.
        experiment: its `name`.
        variant: its `variant`.
        seed: its `seed`.
        accelerator: its `trainer.accelerator`.
        identity: two jobs with the same folder and equal identities are the same job.
    """

    number: int
    name: str
    folder: Path
    overrides: tuple[str, ...]
    task: str
    experiment: str
    variant: str
    seed: int
    accelerator: str
    identity: object


@dataclass(frozen=True)
class Job:
    """One process, as `python -m` runs it.

    Attributes:
        name: such as mask/seed-0.
        folder: that it fills.
        arguments: of the program.
        module: of the program.
    """

    name: str
    folder: Path
    arguments: tuple[str, ...]
    module: str = "fpcn_lightning"

    @property
    def command(self) -> tuple[str, ...]:
        """The command line that does the same."""
        return (sys.executable, "-m", self.module, *self.arguments)

    @property
    def log(self) -> Path:
        """The file of its output, which also holds that of earlier attempts."""
        return self.folder / LOG_NAME


@dataclass(frozen=True)
class Ended:
    """A job that has ended.

    Attributes:
        returncode: its exit code; minus the number of the signal that killed it.
        seconds: how long it took.
        skipped: whether the result in its folder was finished already.
        reason: why it failed: the signal that ended it, or the last line that it printed.
    """

    job: Job
    returncode: int
    seconds: float
    skipped: bool = False
    reason: str = ""

    @property
    def outcome(self) -> Outcome:
        """How the job ended; `taken`: another process is training in its folder."""
        if self.returncode == RunInUse.exit_code:
            return "taken"
        if self.returncode != 0:
            return "failed"
        return "skipped" if self.skipped else "finished"

    @property
    def error(self) -> UserError | None:
        """Why the job has no result: a RunInUse if it was taken, another UserError if it failed, else None."""
        if self.returncode == 0:
            return None
        return RunInUse(self.reason) if self.outcome == "taken" else UserError(self.reason)
