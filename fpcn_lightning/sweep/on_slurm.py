"""Jobs as an array of a Slurm cluster, through submitit (extra `slurm`)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import submitit

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.remote import lost, run_here

if TYPE_CHECKING:
    from fpcn_lightning.sweep.overview import Overview

_PAUSE = 1.0  # seconds between two checks of the jobs; submitit itself queries Slurm less often


@dataclass(frozen=True)
class SlurmTask:
    """One job; when it reaches its time limit it is submitted again, and the run resumes from its checkpoint."""

    job: Job
    folder: Path

    def __call__(self) -> Ended:
        """Run it."""
        return run_here(self.job, self.folder)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit submits again when the time is up."""
        return submitit.helpers.DelayedSubmission(self)


def make_executor(
    cluster: str, folder: str, max_num_timeout: int, parameters: Mapping[str, Any]
) -> submitit.AutoExecutor:
    """The object that submits jobs to the cluster.

    Args:
        cluster: slurm, or local: without a cluster, all jobs at once.
        folder: of scripts and logs.
        max_num_timeout: how often a job that reached its time limit is submitted again.
        parameters: of submitit's AutoExecutor, such as timeout_min or slurm_partition; None: the cluster's default.

    Raises:
        UserError: this machine has no Slurm, or submitit does not know a parameter.
    """
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster, slurm_max_num_timeout=max_num_timeout)
        executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
    except (RuntimeError, NameError, AssertionError) as error:
        raise UserError(f"jobs cannot be submitted to {cluster} from this machine: {error}") from error
    return executor


def run_on_slurm(jobs: Sequence[Job], overview: "Overview", executor: submitit.AutoExecutor) -> list[Ended]:
    """Put every job into the queue and wait for all of them.

    Ctrl-C ends the waiting; queue and jobs stay as they are.

    Returns:
        The jobs in the order in which they ended.
    """
    with executor.batch():
        submitted = [executor.submit(SlurmTask(job, Path.cwd())) for job in jobs]
    waiting = dict(zip(submitted, jobs, strict=True))
    ended: list[Ended] = []
    with overview.shown(len(jobs), None):
        while waiting:
            for each in [each for each in waiting if each.done()]:
                ended.append(_end(each, waiting.pop(each)))
                overview.ended(ended[-1])
            overview.refresh()
            time.sleep(_PAUSE)
    return ended


def _end(task: "submitit.Job[Ended]", job: Job) -> Ended:
    try:
        return task.result()
    except (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError) as error:
        return lost(job, error)
