"""`hydra/sweeper=tabled`: every combination of the listed values, on any launcher, and the table of what came out."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from hydra_plugins.fpcn_lightning._composed import ComposedJob, compose_jobs, not_among
from hydra_plugins.fpcn_lightning._process_launcher import ProcessLauncher


class TabledSweeper(BasicSweeper):
    """Writes what it is going to run, runs it, makes the report whatever happened, and names what failed once.

    Args:
        max_batch_size: hand this many jobs at a time to the launcher; None: all at once.
        params: values to sweep over by key; the command line narrows or widens them.
        first: jobs that the others need, each a list of overrides; they have ended before the others begin. What the
            command line does not sweep over holds for them, too, where they do not say otherwise themselves. One that
            stands among the others as well runs once.
        last: jobs that look at what the others left, each a list of overrides likewise; they begin when all others
            have ended, also where some have failed.
    """

    def __init__(
        self,
        max_batch_size: int | None,
        params: Mapping[str, Any] | None = None,
        first: Sequence[Sequence[str]] | None = None,
        last: Sequence[Sequence[str]] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)  # type: ignore[arg-type]  # Hydra's annotation knows no mapping
        self.first, self.last = first or (), last or ()

    def sweep(self, arguments: list[str]) -> None:
        """Run every combination.

        Raises:
            UserError: two jobs would share a folder, jobs failed, or the report cannot be made.
        """
        from fpcn_lightning.errors import ANOTHER_CONFIG, UserError

        assert self.config is not None
        folder = Path(self.config.hydra.sweep.dir)
        first, *others = self._compose(arguments)
        rows = [job for batch in others for job in batch]
        jobs = [*not_among(first, rows), *rows]  # a report keeps this order: what also comes first stands in its row
        batches = [first, *(not_among(batch, first) for batch in others)]
        trains = _write_plan(folder, jobs)
        try:
            failures = self._run(batches)
        except BaseException as error:
            # What a launcher refuses before anything began leaves nothing to report on.
            if trains and (not isinstance(error, UserError) or any(job.folder.exists() for job in jobs)):
                _report(folder)
            raise
        if any(ANOTHER_CONFIG in failure for failure in failures):
            complaints = [
                f"no report is made: it would show results of another config in {folder} as those of this one."
            ]
        else:
            complaints = _report(folder) if trains else []
        if failures:
            complaints.append(f"{len(failures)} of {len(jobs)} jobs failed; the same command runs exactly these again:")
        if complaints:
            raise UserError("\n  ".join([*complaints, *failures]))

    def _run(self, batches: Sequence[Sequence[ComposedJob]]) -> list[str]:
        """Run all jobs; a line for each that failed."""
        failures: list[str] = []
        for number, batch in enumerate(batches):
            needed = number == 0
            if batch:
                failures += self._launch(batch, needed=needed)
            if needed and failures:
                # They would learn from a teacher that is not finished, or from an earlier one.
                failures[-1] += "; the other jobs wait for it, and were not started"
                break
        return failures

    def _compose(self, arguments: Sequence[str]) -> list[list[ComposedJob]]:
        """The jobs that come first, perhaps none, and those of each batch behind them."""
        assert self.hydra_context is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        first, last = (self._beside(parser, arguments, listed) for listed in (self.first, self.last))
        batches: list[list[ComposedJob]] = []
        for batch in (first, *self.split_arguments(overrides, self.max_batch_size), last):
            batches.append(compose_jobs(self.hydra_context, self.config, batch, sum(map(len, batches))))
        return batches

    def _beside(
        self, parser: OverridesParser, arguments: Sequence[str], listed: Sequence[Sequence[str]]
    ) -> list[list[str]]:
        """The overrides of each job that is listed by itself; of two that name one key, its own is what counts."""
        shared = [override for override in parser.parse_overrides(list(arguments)) if not override.is_sweep_override()]
        jobs = []
        for own in listed:
            chosen = parser.parse_overrides(list(own))
            # A key below a group that the job chooses by itself, such as distillation.temperature, is not its own.
            groups = tuple(f"{override.get_key_element()}." for override in chosen)
            fitting = [override for override in shared if not override.get_key_element().startswith(groups)]
            jobs += self.split_arguments([*fitting, *chosen], None)
        return [words for job in jobs for words in job]

    def _launch(self, batch: Sequence[ComposedJob], *, needed: bool) -> Iterator[str]:
        """Run the jobs of one batch; a line for each that failed, or that others need and another process is at."""
        from fpcn_lightning.errors import RunInUse

        assert self.launcher is not None
        returns: Sequence[JobReturn]
        if isinstance(self.launcher, ProcessLauncher):
            returns = self.launcher.launch_composed(batch)  # composing a job takes a while
        else:
            returns = self.launcher.launch([job.overrides for job in batch], initial_job_idx=batch[0].number)
        for job, returned in zip(batch, returns, strict=True):
            # The public property prints and raises.
            reason = returned._return_value if returned.status == JobStatus.FAILED else None
            if isinstance(reason, RunInUse) and not needed:
                print(f"{job.name} is left to another process, which trains in {job.folder}.")
            elif reason is not None:
                yield f"{job.name}: {_first_line(reason)} ({_place_to_look(job.folder)})"


def _first_line(error: Exception) -> str:
    from fpcn_lightning.errors import UserError

    line = str(error).strip().partition("\n")[0]
    return line if isinstance(error, UserError) else f"{type(error).__name__}: {line}"


def _place_to_look(folder: Path) -> Path:
    from fpcn_lightning.runs.status import LOG_NAME

    return folder / LOG_NAME if (folder / LOG_NAME).exists() else folder


def _write_plan(folder: Path, jobs: Sequence[ComposedJob]) -> bool:
    """Note what is going to be trained; whether anything is, so that there will be something to report on."""
    from fpcn_lightning.runs.plan import PlannedRun, check_folders, write_plan
    from fpcn_lightning.runs.recording import check_names, command_line

    for job in jobs:
        check_names(job.config.name, job.config.variant)
    planned = {
        job.number: PlannedRun(job.config.variant, job.config.seed, job.name, tuple(job.overrides)) for job in jobs
    }
    check_folders(list(planned.values()))
    # Other tasks find names for their results themselves.
    training = [planned[job.number] for job in jobs if job.config.task == "train"]
    if training:
        write_plan(folder, command_line(sys.argv[1:]), training)
    return bool(training)


def _report(folder: Path) -> list[str]:
    """Make the report of the sweep, of what is there; what is wrong with it, if anything is."""
    from fpcn_lightning.errors import UserError
    from fpcn_lightning.tasks.report import report_folder

    try:
        report_folder(folder)
    except UserError as error:
        return [str(error)]
    return []
