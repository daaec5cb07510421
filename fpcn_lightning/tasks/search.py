"""`task=search`: look for the values of some keys that do best on validation; each trial is a training of its own."""

import json
import re
import signal
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from fpcn_lightning import build
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.recording import command_line
from fpcn_lightning.runs.results import RESULT_NAME, read_result
from fpcn_lightning.runs.sameness import decisive
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.overview import Overview
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.search_space import read_space
from fpcn_lightning.sweep.search_study import Study, throw_away, trial_name
from fpcn_lightning.sweep.slots import Slot, slots_for
from hydra_plugins.fpcn_lightning.slots_launcher import command

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from fpcn_lightning.report.search import Trial

_STATES: dict[str, Literal["finished", "failed", "unfinished"]] = {
    "COMPLETE": "finished",
    "FAIL": "failed",
    "RUNNING": "unfinished",
}
_INTERRUPTED = (130, -signal.SIGINT)  # exit codes of a trial that somebody stopped by hand


def run(cfg: DictConfig) -> None:
    """Run trials until `search.trials` have begun, in this and all other processes that search in the same folder.

    Raises:
        UserError: Optuna is not installed, the space makes no sense, the folder holds another search, or the config's
            own values fail.
    """
    if find_spec("optuna") is None:
        raise UserError("a search needs the package optuna: pip install 'fpcn-lightning[search]'.")
    section = build.plain(cfg)
    trials, folder = section["search"]["trials"], Path(section["output"], section["name"]).resolve()
    if trials < 1:
        raise UserError(f"search.trials={trials} must be at least 1.")
    config = decisive(section)
    space = read_space(section["search"]["space"], config)
    slots = _slots(section)
    folder.mkdir(parents=True, exist_ok=True)
    if section["overwrite"]:
        throw_away(folder)
    search = _Search(folder, section["seed"], Study(folder, space, config, section["seed"]))
    try:
        run_jobs(search.jobs(trials), slots, Overview(), search.study.remaining(trials), on_end=search.take)
    finally:
        _report(search, [key for key, drawn in space.items() if getattr(drawn, "log", False)])
    if search.broken is not None:
        raise UserError(search.broken)


class _Search:
    """The trials of this process: claimed when a slot is free, told to the study when they have ended."""

    def __init__(self, folder: Path, seed: int, study: Study) -> None:
        self.folder, self.study = folder, study
        self.broken: str | None = None
        self._seed = seed
        self._numbers: dict[str, int] = {}

    def jobs(self, limit: int) -> Iterator[Job]:
        """One job for each claim."""
        while self.broken is None and (claim := self.study.claim(limit)) is not None:
            name = trial_name(claim.number)
            self._numbers[name] = claim.number
            place = self.folder / name / f"seed-{self._seed}"
            yield Job(name, place, _command(name, place, claim.values))

    def take(self, ended: Ended) -> None:
        """Tell the study what came of a trial."""
        number = self._numbers[ended.job.name]
        if ended.outcome == "taken" or ended.returncode in _INTERRUPTED:
            self.study.leave(number)
        elif ended.outcome != "failed":
            self._finish(number, ended)
        elif _was_cut_off(ended):
            self.study.leave(number)
        elif number == 0:
            # What fails with the config's own values would most likely fail twenty times.
            self.broken = f"the first trial, with the config's own values, failed: {ended.reason} ({ended.log})"
            self.study.leave(number)
        else:
            self.study.fail(number, ended.reason)

    def _finish(self, number: int, ended: Ended) -> None:
        result = read_result(ended.job.folder / RESULT_NAME)
        assert result["metrics"] is not None, "a finished run has metrics"
        assert result["data"] is not None, "a finished run has data"
        if not self.study.same_pictures(result["data"]["fingerprint"]):
            self.study.fail(number, "the pictures or their sides have changed since the search began")
            return
        measured = result["metrics"]["val"][str(result["inference_mode"])]
        seconds = result["seconds"]["fit"]
        self.study.finish(number, measured["accuracy"], images=measured["images"], seconds=seconds)


def _was_cut_off(ended: Ended) -> bool:
    """Whether the trial was ended from outside, by its own record; one that erred says so there."""
    path = ended.job.folder / RESULT_NAME
    return path.exists() and read_result(path)["status"] in ("running", "interrupted")


def _slots(section: Mapping[str, Any]) -> list[Slot]:
    launcher = HydraConfig.get().launcher
    if "slots" not in launcher:
        raise UserError(
            "a search runs its trials in the slots of one machine: leave hydra/launcher=slots, and start the same "
            "command on every machine that shares the folder."
        )
    given = {key: launcher[key] for key in ("slots", "cards", "cards_per_slot")}
    return slots_for([section["trainer"]["accelerator"]], **given)


def _command(name: str, folder: Path, values: Mapping[str, Any]) -> tuple[str, ...]:
    """The command of one trial: the words of the search, and what makes a training of them; the last word wins."""
    words = [*_own_words(), "task=train", "test=false", "overwrite=false", *_assignments(values), f"variant={name}"]
    return command(cast(DictConfig, HydraConfig.instance().cfg), words, folder)


def _training_command(name: str, values: Mapping[str, Any]) -> str:
    """The line that trains these values with three seeds, and looks at the test side."""
    own = [word for word in _own_words() if not re.match(r"[+~]*(search\.|overwrite=)", word)]
    words = [*own, "task=train", *_assignments(values), f"name={name}-best", "variant=best", "seed=0,1,2"]
    by_key = {word.partition("=")[0]: word for word in words}
    return command_line(["-m", *by_key.values()])


def _own_words() -> list[str]:
    # As they were written: what they refer to is the trial's own.
    return cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={_word(value)}" for key, value in values.items()]


def _word(value: bool | int | float | str | None) -> str:
    """A value as the command line takes it."""
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return json.dumps(value)


def _report(search: _Search, log_keys: list[str]) -> None:
    from fpcn_lightning.report.search import ranked, write_search

    trials = ranked([_trial(frozen) for frozen in search.study.trials()])
    best = trials[0] if trials and trials[0].state == "finished" else None
    command_line = _training_command(search.folder.name, best.values) if best else None
    print(write_search(search.folder, trials, log_keys, command_line))
    print(f"search folder: {search.folder}")


def _trial(frozen: "FrozenTrial") -> "Trial":
    from fpcn_lightning.report.search import Trial

    details = {key: frozen.user_attrs.get(key) for key in ("images", "seconds", "error")}
    return Trial(frozen.number, frozen.params, _STATES[frozen.state.name], frozen.value, **details)
