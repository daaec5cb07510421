"""`task=search`: search the values of some keys for the best validation accuracy; each trial is a training run."""

import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fpcn_lightning import build
from fpcn_lightning.config import Config
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.report.search import Trial, ranked, write_search
from fpcn_lightning.runs.folders import experiment_folder, trial_name
from fpcn_lightning.runs.invocation import Invocation, command_line
from fpcn_lightning.runs.results import RESULT_NAME, read_result
from fpcn_lightning.runs.sameness import decisive
from fpcn_lightning.sweep.command import assignment, job_arguments
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.overview import Overview
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.search_space import read_space
from fpcn_lightning.sweep.search_study import SearchStudy, delete_study
from fpcn_lightning.sweep.slots import Slot, slots_for

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_STATES: dict[str, Literal["finished", "failed", "unfinished"]] = {
    "COMPLETE": "finished",
    "FAIL": "failed",
    "RUNNING": "unfinished",
}
_INTERRUPTED = (130, -signal.SIGINT)  # exit codes of a trial that the user stopped


def run(config: Config, invocation: Invocation) -> None:
    """Run trials until `search.trials` have started, in this and all other processes that search in the same folder.

    Raises:
        UserError: Optuna is not installed, the space is invalid, the folder holds another search, or the trial with
            the config's own values fails.
    """
    MissingPackage.check("task=search", "search")
    trials, folder = config.search.trials, experiment_folder(Path(config.output), config.name).resolve()
    if trials < 1:
        raise UserError(f"search.trials={trials} must be at least 1.")
    deciding = decisive(build.as_record(config))
    space = read_space(config.search.space, deciding)
    slots = _slots(config, invocation)
    folder.mkdir(parents=True, exist_ok=True)
    if config.overwrite:
        delete_study(folder)
    study = SearchStudy(folder, space, deciding, config.seed)
    search = _Search(folder, config.seed, study, invocation)
    try:
        run_jobs(search.jobs(trials), slots, Overview(), study.remaining(trials), on_end=search.take)
    finally:
        search.report([key for key, drawn in space.items() if getattr(drawn, "log", False)])
    if search.broken is not None:
        raise UserError(search.broken)


class _Search:
    """The trials of this process: claimed when a slot is free, reported to the study when they have ended."""

    def __init__(self, folder: Path, seed: int, study: SearchStudy, invocation: Invocation) -> None:
        self.broken: str | None = None
        self._folder, self._seed, self._study, self._invocation = folder, seed, study, invocation
        self._numbers: dict[str, int] = {}

    def jobs(self, limit: int) -> Iterator[Job]:
        """One job for each claim."""
        while self.broken is None and (claim := self._study.claim(limit)) is not None:
            name = trial_name(claim.number)
            self._numbers[name] = claim.number
            folder = self._folder / name / f"seed-{self._seed}"
            yield Job(name, folder, self._command(name, folder, claim.values))

    def take(self, ended: Ended) -> None:
        """Report to the study how a trial ended."""
        number = self._numbers[ended.job.name]
        if ended.outcome == "taken" or ended.returncode in _INTERRUPTED:
            self._study.leave(number)
        elif ended.outcome != "failed":
            self._finish(number, ended)
        elif _was_interrupted(ended):
            self._study.leave(number)
        elif number == 0:
            # An error with the config's own values would most likely occur in every trial.
            self.broken = f"the first trial, with the config's own values, failed: {ended.reason} ({ended.job.log})"
            self._study.leave(number)
        else:
            self._study.fail(number, ended.reason)

    def report(self, log_keys: list[str]) -> None:
        """Write the report of all trials, of other processes too, and print it."""
        trials = ranked([_trial(frozen) for frozen in self._study.trials()])
        best = trials[0] if trials and trials[0].state == "finished" else None
        command = self._training_command(best.values) if best else None
        print(write_search(self._folder, trials, log_keys, command))
        print(f"search folder: {self._folder}")

    def _finish(self, number: int, ended: Ended) -> None:
        result = read_result(ended.job.folder / RESULT_NAME)
        assert result["metrics"] is not None, "a finished run has metrics"
        assert result["data"] is not None, "a finished run has data"
        if not self._study.same_images(result["data"]["fingerprint"]):
            self._study.fail(number, "the images or their splits have changed since the search began")
            return
        measured = result["metrics"]["val"][str(result["inference_mode"])]
        seconds = result["seconds"]["fit"]
        self._study.finish(number, measured["accuracy"], images=measured["images"], seconds=seconds)

    def _command(self, name: str, folder: Path, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The command of one trial: the overrides of the search, then those of a training; later ones win."""
        training = ("task=train", "test=false", "overwrite=false")
        overrides = [*self._invocation.overrides, *training, *_assignments(values), f"variant={name}"]
        return job_arguments(self._invocation, overrides, folder)

    def _training_command(self, values: Mapping[str, Any]) -> str:
        """The command line that trains with these values and three seeds, and tests the networks."""
        own = [word for word in self._invocation.overrides if not re.match(r"[+~]*(search\.|overwrite=)", word)]
        name = f"name={self._folder.name}-best"
        overrides = [*own, "task=train", *_assignments(values), name, "variant=best", "seed=0,1,2"]
        by_key = {override.partition("=")[0]: override for override in overrides}
        return command_line(["-m", *by_key.values()])


def _slots(config: Config, invocation: Invocation) -> list[Slot]:
    launcher: Mapping[str, Any] = invocation.launcher
    if "slots" not in launcher:
        raise UserError(
            "a search runs its trials in the slots of one machine: set hydra/launcher=slots; to use several machines "
            "with a shared folder, start the same command on each of them."
        )
    given = {key: launcher[key] for key in ("slots", "gpus", "gpus_per_job")}
    return slots_for([config.trainer["accelerator"]], **given)


def _was_interrupted(ended: Ended) -> bool:
    """Whether the trial was stopped from outside, according to its own result; a failed trial has another status."""
    path = ended.job.folder / RESULT_NAME
    return path.exists() and read_result(path)["status"] in ("running", "interrupted")


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [assignment(key, value) for key, value in values.items()]


def _trial(frozen: "FrozenTrial") -> Trial:
    details = {key: frozen.user_attrs.get(key) for key in ("images", "seconds", "error")}
    return Trial(frozen.number, frozen.params, _STATES[frozen.state.name], frozen.value, **details)
