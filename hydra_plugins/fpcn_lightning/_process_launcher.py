"""What our launchers share: a job is a fresh process of the program, told its folder; they differ in where it runs."""

import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.fpcn_lightning._composed import ComposedJob, compose_jobs

if TYPE_CHECKING:
    from fpcn_lightning.sweep.jobs import Ended, Job


class ProcessLauncher(Launcher):
    """Composes the jobs, has them run as processes, and tells Hydra what became of them."""

    hydra_context: HydraContext
    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Remember what Hydra hands over; the task function is not: a job starts the program anew."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs of any sweeper, which hands over their overrides alone."""
        return self.launch_composed(compose_jobs(self.hydra_context, self.config, job_overrides, initial_job_idx))

    def launch_composed(self, composed: Sequence[ComposedJob]) -> list[JobReturn]:
        """Run all jobs; one that failed carries a UserError, or a RunInUse, as its return value.

        Raises:
            UserError: they cannot be run as asked for.
        """
        from fpcn_lightning.sweep.jobs import Job

        jobs = [Job(one.name, one.folder, command(self.config, one.overrides, one.folder)) for one in composed]
        ended = {each.job: each for each in self.run(jobs, {one.config.trainer.accelerator for one in composed})}
        return [_job_return(one, ended[job]) for one, job in zip(composed, jobs, strict=True)]

    @abstractmethod
    def run(self, jobs: Sequence["Job"], accelerators: set[str]) -> list["Ended"]:
        """Run the jobs, whose `trainer.accelerator`s these are."""


def command(sweep: DictConfig, overrides: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The command line of one job: the words of the sweep's own that belong to Hydra, the job's, and its folder."""
    sources = [source for source in sweep.hydra.runtime.config_sources if source.provider == "command-line"]
    flags = [f"--config-dir={source.path}" for source in sources]
    # As they were written: what they refer to is the job's own.
    written = cast(list[str], OmegaConf.to_container(sweep.hydra.overrides.hydra, resolve=False))
    words = [word for word in written if not word.startswith("hydra.mode=")]
    place = QuotedString(str(folder), Quote.single).with_quotes()
    # An experiment may say hydra.mode=MULTIRUN itself: the last word must not be its own.
    last = ("hydra.mode=RUN", f"hydra.run.dir={place}")
    return (sys.executable, "-m", "fpcn_lightning", *flags, *words, *overrides, *last)


def _job_return(composed: ComposedJob, ended: "Ended") -> JobReturn:
    from fpcn_lightning.errors import RunInUse, UserError

    result = JobReturn(overrides=composed.overrides, cfg=composed.config, working_dir=str(composed.folder))
    result.status = JobStatus.COMPLETED if ended.returncode == 0 else JobStatus.FAILED
    if ended.returncode != 0:
        result.return_value = (RunInUse if ended.outcome == "taken" else UserError)(ended.reason)
    return result
