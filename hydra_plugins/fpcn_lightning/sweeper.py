"""`hydra/sweeper=tabled`: the jobs of the config and the command line, on any launcher, and their report."""

import sys
from collections.abc import Mapping, Sequence

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fpcn_lightning.cli.sweep_jobs import SweepSection, compose_sweep
from fpcn_lightning.runs.invocation import command_line
from fpcn_lightning.sweep.jobs import ComposedJob
from fpcn_lightning.sweep.run_sweep import run_sweep
from hydra_plugins.fpcn_lightning.launchers import ProcessLauncher


class TabledSweeper(Sweeper):
    """Composes the jobs and has `fpcn_lightning.sweep.run_sweep` run them with the launcher that was chosen.

    Args:
        max_batch_size: pass this many jobs at a time to the launcher; None: all at once.
        params: values to sweep over by key; the command line replaces them key by key.
        rows: overrides that belong together; every row is run with every combination of `params`. A key of the command
            line that is also in the rows keeps the rows with one of its values.
        first: jobs that the others need, each a list of overrides; they have ended before the others start. What the
            command line does not sweep over holds for them, too, unless they set it themselves. One that is among the
            others as well runs once.
        last: jobs that use the results of the others, each a list of overrides likewise; they start when all others
            have ended, even if some have failed.
    """

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, object] | None = None,
        rows: Sequence[Sequence[str]] | None = None,
        first: Sequence[Sequence[str]] | None = None,
        last: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.section = SweepSection(max_batch_size, params, rows, first, last)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what Hydra passes, and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run all jobs.

        Raises:
            UserError: two jobs would share a folder, jobs failed, or the report cannot be made.
        """
        from fpcn_lightning.tasks.report import report_folder

        jobs = compose_sweep(self.hydra_context, self.config, self.section, arguments)
        run_sweep(jobs, command_line(sys.argv[1:]), self._launch, report_folder)

    def _launch(self, batch: Sequence[ComposedJob]) -> list[Exception | None]:
        if isinstance(self.launcher, ProcessLauncher):
            return [ended.error for ended in self.launcher.run_composed(batch)]
        returned = self.launcher.launch([list(job.overrides) for job in batch], initial_job_idx=batch[0].number)
        return [_error(each) for each in returned]


def _error(returned: JobReturn) -> Exception | None:
    # The public property `return_value` prints and raises.
    return returned._return_value if returned.status == JobStatus.FAILED else None
