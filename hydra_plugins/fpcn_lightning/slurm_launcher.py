"""`hydra/launcher=slurm`: the jobs of a sweep as one array of a Slurm cluster, through submitit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra_plugins.fpcn_lightning._process_launcher import ProcessLauncher

if TYPE_CHECKING:
    from fpcn_lightning.sweep.jobs import Ended, Job


class SlurmLauncher(ProcessLauncher):
    """Slurm gives each job its cards and its hours; the job itself is a process like everywhere else.

    Args:
        cluster: slurm, or local: without a cluster, all jobs at once.
        folder: of submitit's scripts and logs.
        max_num_timeout: how often a job that met its time limit comes back.
        parameters: of submitit's AutoExecutor; None: as the cluster has it.
    """

    def __init__(self, cluster: str, folder: str, max_num_timeout: int, parameters: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.folder = folder
        self.max_num_timeout = max_num_timeout
        self.parameters = parameters

    def run(self, jobs: Sequence["Job"], accelerators: set[str]) -> list["Ended"]:  # noqa: ARG002
        """Run the jobs.

        Raises:
            UserError: submitit is not installed, does not know a parameter, or finds no Slurm.
        """
        from fpcn_lightning.errors import UserError
        from fpcn_lightning.sweep.overview import Overview

        try:
            from fpcn_lightning.sweep.on_slurm import make_executor, run_on_slurm
        except ImportError as error:
            raise UserError("hydra/launcher=slurm is an extra: pip install 'fpcn-lightning[slurm]'.") from error
        parameters = {key: value for key, value in self.parameters.items() if value is not None}
        return run_on_slurm(
            jobs, Overview(), make_executor(self.cluster, self.folder, self.max_num_timeout, parameters)
        )
