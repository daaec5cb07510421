"""The launchers of `conf/hydra/launcher`: each passes the jobs of a sweep to `fpcn_lightning.sweep`.

A job is a process of the program in its own run folder; the launchers differ in where it runs. Hydra imports this
file at every start, so that nothing heavy is imported at the top.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fpcn_lightning.cli.invocation import sweep_invocation
from fpcn_lightning.cli.sweep_jobs import compose_jobs
from fpcn_lightning.errors import MissingPackage
from fpcn_lightning.sweep.command import job_arguments
from fpcn_lightning.sweep.jobs import ComposedJob, Ended, Job

if TYPE_CHECKING:
    from fpcn_lightning.sweep.overview import Overview


class ProcessLauncher(Launcher):
    """A launcher whose jobs are processes."""

    hydra_context: HydraContext
    config: DictConfig

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:  # noqa: ARG002
        """Keep what Hydra passes, but for the task function: a job starts the program anew."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs of any sweeper; one that failed has a UserError, or a RunInUse, as its return value."""
        composed = compose_jobs(self.hydra_context, self.config, job_overrides, initial_job_idx)
        ended = self.run_composed(composed)
        return [self._job_return(*pair) for pair in zip(composed, ended, strict=True)]

    def _job_return(self, composed: ComposedJob, ended: Ended) -> JobReturn:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(composed.overrides))
        result = JobReturn(overrides=composed.overrides, cfg=config, working_dir=str(composed.folder))
        result.status = JobStatus.COMPLETED if ended.error is None else JobStatus.FAILED
        if ended.error is not None:
            result.return_value = ended.error
        return result

    def run_composed(self, composed: Sequence[ComposedJob]) -> list[Ended]:
        """Run all jobs, and return how they ended in the order of `composed`.

        Raises:
            UserError: they cannot be run as the config says.
        """
        from fpcn_lightning.sweep.overview import Overview

        invocation = sweep_invocation(self.config)
        jobs = [Job(one.name, one.folder, job_arguments(invocation, one.overrides, one.folder)) for one in composed]
        ended = self.run(jobs, {one.accelerator for one in composed}, Overview())
        by_job = {each.job: each for each in ended}
        return [by_job[job] for job in jobs]

    @abstractmethod
    def run(self, jobs: Sequence[Job], accelerators: set[str], overview: "Overview") -> list[Ended]:
        """Run the jobs, which have these `trainer.accelerator`s, and report on them to `overview`."""


class SlotsLauncher(ProcessLauncher):
    """`hydra/launcher=slots`: the jobs wait for free slots of this machine.

    Args:
        slots: jobs at a time; None: as many as the GPUs allow, one on a machine without a GPU.
        gpus: their numbers or names as in CUDA_VISIBLE_DEVICES; None: all that this process may use.
        gpus_per_job: GPUs of one job, as many as its `trainer.devices`.
    """

    def __init__(self, slots: int | None, gpus: Sequence[int | str] | None, gpus_per_job: int) -> None:
        self.slots = slots
        self.gpus = gpus
        self.gpus_per_job = gpus_per_job

    def run(self, jobs: Sequence[Job], accelerators: set[str], overview: "Overview") -> list[Ended]:
        """Run the jobs.

        Raises:
            UserError: the machine does not have these slots.
        """
        from fpcn_lightning.sweep.processes import run_jobs
        from fpcn_lightning.sweep.slots import slots_for

        slots = slots_for(accelerators, slots=self.slots, gpus=self.gpus, gpus_per_job=self.gpus_per_job)
        return run_jobs(jobs, slots, overview, len(jobs))


class RayLauncher(ProcessLauncher):
    """`hydra/launcher=ray`: the jobs run on the machines of a Ray cluster.

    Args:
        init: arguments of `ray.init`; those that are None are not passed.
        num_cpus: cores of one job, also its OMP_NUM_THREADS.
        num_gpus: GPUs of one job.
    """

    def __init__(self, init: Mapping[str, Any], num_cpus: float, num_gpus: float) -> None:
        self.init = init
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus

    def run(self, jobs: Sequence[Job], accelerators: set[str], overview: "Overview") -> list[Ended]:  # noqa: ARG002
        """Run the jobs.

        Raises:
            UserError: Ray is not installed, or does not start with these arguments.
        """
        MissingPackage.check("hydra/launcher=ray", "ray")
        from fpcn_lightning.sweep.on_ray import run_on_ray

        return run_on_ray(jobs, overview, self.init, num_cpus=self.num_cpus, num_gpus=self.num_gpus)


class SlurmLauncher(ProcessLauncher):
    """`hydra/launcher=slurm`: the jobs run as one array of a Slurm cluster, through submitit.

    Args:
        cluster: slurm, or local: without a cluster, all jobs at once.
        folder: of submitit's scripts and logs.
        max_num_timeout: how often a job that reached its time limit is submitted again.
        parameters: of submitit's AutoExecutor; those that are None are left to the cluster.
    """

    def __init__(self, cluster: str, folder: str, max_num_timeout: int, parameters: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.folder = folder
        self.max_num_timeout = max_num_timeout
        self.parameters = parameters

    def run(self, jobs: Sequence[Job], accelerators: set[str], overview: "Overview") -> list[Ended]:  # noqa: ARG002
        """Run the jobs.

        Raises:
            UserError: submitit is not installed, does not know a parameter, or finds no Slurm.
        """
        MissingPackage.check("hydra/launcher=slurm", "slurm")
        from fpcn_lightning.sweep.on_slurm import make_executor, run_on_slurm

        executor = make_executor(self.cluster, self.folder, self.max_num_timeout, self.parameters)
        return run_on_slurm(jobs, overview, executor)
