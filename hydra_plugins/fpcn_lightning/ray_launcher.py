"""`hydra/launcher=ray`: the jobs of a sweep on the machines of a Ray cluster."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra_plugins.fpcn_lightning._process_launcher import ProcessLauncher

if TYPE_CHECKING:
    from fpcn_lightning.sweep.jobs import Ended, Job


class RayLauncher(ProcessLauncher):
    """Ray gives each job its cards; the job itself is a process like everywhere else.

    Args:
        init: arguments of `ray.init`; what is None is left out.
        num_cpus: cores of one job, also its OMP_NUM_THREADS.
        num_gpus: cards of one job.
    """

    def __init__(self, init: Mapping[str, Any], num_cpus: float, num_gpus: float) -> None:
        self.init = init
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus

    def run(self, jobs: Sequence["Job"], accelerators: set[str]) -> list["Ended"]:  # noqa: ARG002
        """Run the jobs.

        Raises:
            UserError: Ray is not installed.
        """
        from fpcn_lightning.errors import UserError
        from fpcn_lightning.sweep.overview import Overview

        try:
            from fpcn_lightning.sweep.on_ray import run_on_ray
        except ImportError as error:
            raise UserError("hydra/launcher=ray is an extra: pip install 'fpcn-lightning[ray]'.") from error
        init = {key: value for key, value in self.init.items() if value is not None}
        return run_on_ray(jobs, Overview(), init, num_cpus=self.num_cpus, num_gpus=self.num_gpus)
