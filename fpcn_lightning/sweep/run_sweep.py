"""A whole sweep: the plan, the jobs in their batches, the report, and one error that names what failed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.errors import ANOTHER_CONFIG, OTHER_IMAGES, RunInUse, UserError, explain
from fpcn_lightning.runs.folders import check_names
from fpcn_lightning.runs.plan import PlannedRun, check_folders, write_plan
from fpcn_lightning.runs.status import LOG_NAME
from fpcn_lightning.sweep.jobs import ComposedJob

LaunchJobs = Callable[[Sequence[ComposedJob]], Sequence[Exception | None]]
"""Runs the jobs of one batch; gives for each, in their order, why it failed, a RunInUse if another process has it."""
MakeReport = Callable[[Path], object]
"""Makes the report of a sweep's folder; raises a UserError where it cannot."""


@dataclass(frozen=True)
class ComposedSweep:
    """The jobs of a sweep.

    Attributes:
        folder: of the sweep.
        first: jobs that the others need, such as a teacher: the others start only if all of these finished. One that
            is also in `batches` runs once.
        batches: the rows, in batches of the size that is given to the launcher at a time.
        last: jobs that use the results of the others; they start when all others have ended, failed or not.
    """

    folder: Path
    first: Sequence[ComposedJob]
    batches: Sequence[Sequence[ComposedJob]]
    last: Sequence[ComposedJob] = ()

    @property
    def jobs(self) -> list[ComposedJob]:
        """All jobs in the order of the report: what comes first only because others need it is where its row is."""
        others = [*(job for batch in self.batches for job in batch), *self.last]
        return [*_without(self.first, others), *others]


def run_sweep(sweep: ComposedSweep, command: str, launch: LaunchJobs, report: MakeReport) -> None:
    """Write the plan, run every job, make the report whatever happened, and name what failed in one error.

    Args:
        sweep: its jobs.
        command: the command line that started it.
        launch: runs a batch.
        report: is called once, where some job trains.

    Raises:
        UserError: two jobs would share a folder, jobs failed, or the report cannot be made.
    """
    jobs = sweep.jobs
    trains = _write_plan(sweep.folder, command, jobs)
    try:
        failures = _run(sweep, launch)
    except BaseException as error:
        # A launcher that refuses the jobs before any started leaves nothing to report on.
        if trains and (not isinstance(error, UserError) or any(job.folder.exists() for job in jobs)):
            _try_report(report, sweep.folder)
        raise
    stale = [words for words in (ANOTHER_CONFIG, OTHER_IMAGES) if any(words in failure for failure in failures)]
    if stale:
        what = "another config" if ANOTHER_CONFIG in stale else "other images"
        complaints = [f"no report is made: it would show results of {what} in {sweep.folder} as those of this one."]
    else:
        complaints = _try_report(report, sweep.folder) if trains else []
    if failures:
        again = "" if stale else "; the same command runs exactly these again"
        complaints.append(f"{len(failures)} of {len(jobs)} jobs failed{again}:")
    if complaints:
        raise UserError("\n  ".join([*complaints, *failures]))


def _write_plan(folder: Path, command: str, jobs: Sequence[ComposedJob]) -> bool:
    """Write down what is going to be trained; whether anything is, so that there will be something to report on."""
    for job in jobs:
        check_names(job.experiment, job.variant)
    planned = {job.number: PlannedRun(job.variant, job.seed, job.name, job.overrides) for job in jobs}
    check_folders(list(planned.values()))
    # Other tasks choose the names of their results themselves.
    training = [planned[job.number] for job in jobs if job.task == "train"]
    if training:
        write_plan(folder, command, training)
    return bool(training)


def _run(sweep: ComposedSweep, launch: LaunchJobs) -> list[str]:
    """Run all jobs; a line for each that failed."""
    failures = list(_launch_batch(sweep.first, launch, needed=True))
    if failures:
        # The others would learn from an unfinished teacher, or from an earlier one.
        failures[-1] += "; the other jobs need it and were not started"
        return failures
    for batch in (*sweep.batches, sweep.last):
        failures += _launch_batch(_without(batch, sweep.first), launch, needed=False)
    return failures


def _launch_batch(batch: Sequence[ComposedJob], launch: LaunchJobs, *, needed: bool) -> Iterator[str]:
    """Run the jobs of one batch; a line for each that failed, or that others need and another process has."""
    if not batch:
        return
    for job, error in zip(batch, launch(batch), strict=True):
        if isinstance(error, RunInUse) and not needed:
            print(f"{job.name} is left to another process, which trains in {job.folder}.")
        elif error is not None:
            yield f"{job.name}: {_first_line(error)} ({_log_or_folder(job.folder)})"


def _without(jobs: Sequence[ComposedJob], others: Sequence[ComposedJob]) -> list[ComposedJob]:
    known = [(other.folder, other.identity) for other in others]
    return [job for job in jobs if (job.folder, job.identity) not in known]


def _try_report(report: MakeReport, folder: Path) -> list[str]:
    """Make the report of what there is; why it cannot be made, if so."""
    try:
        report(folder)
    except UserError as error:
        return [str(error)]
    return []


def _first_line(error: Exception) -> str:
    explained = explain(error)
    line = (str(error) if explained is None else explained.text).strip().partition("\n")[0]
    return line if explained is not None else f"{type(error).__name__}: {line}"


def _log_or_folder(folder: Path) -> Path:
    return folder / LOG_NAME if (folder / LOG_NAME).exists() else folder
