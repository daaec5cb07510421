"""A search that any number of processes share: which trial to run next, and the result of each.

The study is one file that Optuna appends to. A file lock for each trial shows whether the process that runs it is still
alive: the system releases it when that process ends, however it ends, and another process can resume the trial.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.folders import trial_name

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STUDY_NAME = "study.log"
_LOCKS = ".locks"


@dataclass(frozen=True)
class Claim:
    """A trial that this process has to run, with the values of the keys that are searched."""

    number: int
    values: Mapping[str, Any]


class SearchStudy:
    """The trials in one folder.

    The values of a trial are a function of the seed, of its number and of the results before it, so that a search with
    one trial at a time draws the same values whether it was interrupted or not. With several at a time they depend on
    which one ends first.

    Args:
        folder: the folder of the search; its name is that of the study.
        space: a distribution for each dotted key that is searched.
        config: by dotted key, what decides the outcome of a run; trial 0 uses its values.
        seed: of the sampler.

    Raises:
        UserError: the folder holds a search over another space or with another config, or a damaged study.
    """

    def __init__(
        self, folder: Path, space: "Mapping[str, BaseDistribution]", config: Mapping[str, object], seed: int
    ) -> None:
        self._folder, self._space, self._seed = folder, dict(space), seed
        self._held: dict[int, FileLock] = {}
        self._left: set[int] = set()
        self._study_lock = _lock(folder, "study")
        with self._study_lock:
            self._study = _open(folder)
            self._check_same(config)
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial({key: config[key] for key in space})

    def claim(self, limit: int) -> Claim | None:
        """The next trial for this process: one whose process died, else a new one if fewer than `limit` have started.

        Trials that failed count as well, so that a search ends. The caller ends each claim with `finish`, `fail` or
        `leave`.
        """
        from optuna.trial import TrialState

        with self._study_lock:
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.number not in self._left and self._hold(trial.number):
                    if trial.params.keys() == self._space.keys():
                        return Claim(trial.number, trial.params)
                    self.fail(trial.number, "its values were not drawn completely")
            started = sum(trial.state != TrialState.WAITING for trial in self._study.get_trials(deepcopy=False))
            if started >= limit:
                return None
            self._study.sampler = _sampler(self._seed, started)
            new = self._study.ask(self._space)
            self._hold(new.number)
            return Claim(new.number, new.params)

    def remaining(self, limit: int) -> int:
        """How many of `limit` trials have not ended, in all processes together."""
        ended = sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))
        return max(0, limit - ended)

    def same_images(self, fingerprint: str) -> bool:
        """Whether a trial has the fingerprint of the first one that was checked: only then can they be compared."""
        stored = self._study.user_attrs.get("fingerprint")
        if stored is None:
            self._study.set_user_attr("fingerprint", fingerprint)
        return stored in (None, fingerprint)

    def finish(self, number: int, accuracy: float, **details: float | None) -> None:
        """End a claim with the validation accuracy in 0..1 that it reached; details are stored with it."""
        self._annotate(number, details)
        self._study.tell(number, accuracy)
        self._held.pop(number).release()

    def fail(self, number: int, reason: str) -> None:
        """End a claim for good without a result."""
        from optuna.trial import TrialState

        self._annotate(number, {"error": reason})
        self._study.tell(number, state=TrialState.FAIL)
        self._held.pop(number).release()

    def leave(self, number: int) -> None:
        """Give a claim back unfinished; another process, or the next call of the same command, resumes it."""
        self._left.add(number)
        self._held.pop(number).release()

    def trials(self) -> "list[optuna.trial.FrozenTrial]":
        """All trials that have started, by number."""
        from optuna.trial import TrialState

        return [trial for trial in self._study.get_trials() if trial.state != TrialState.WAITING]

    def _hold(self, number: int) -> bool:
        lock = _lock(self._folder, trial_name(number))
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        self._held[number] = lock
        return True

    def _annotate(self, number: int, details: Mapping[str, object]) -> None:
        from optuna.trial import Trial

        (frozen,) = (trial for trial in self._study.get_trials(deepcopy=False) if trial.number == number)
        trial = Trial(self._study, frozen._trial_id)
        for key, value in details.items():
            trial.set_user_attr(key, value)

    def _check_same(self, config: Mapping[str, object]) -> None:
        """Store the space and the config, or compare them with those that an earlier process has stored."""
        space = {f"search.space.{key}": str(distribution) for key, distribution in self._space.items()}
        found = json.loads(json.dumps({**config, **space}))
        stored = self._study.user_attrs.get("config")
        if stored is None:
            self._study.set_user_attr("config", found)
            return
        for key in sorted(stored.keys() | found.keys()):
            before, now = stored.get(key, "absent"), found.get(key, "absent")
            if before != now:
                raise UserError(
                    f"{self._folder} holds a search with {key}={before}, not {now}: name this one with name=OTHER, or "
                    "replace it with overwrite=true."
                )


def delete_study(folder: Path) -> None:
    """Remove the study in `folder` and its trials.

    Raises:
        UserError: another process is running one of them.
    """
    with _lock(folder, "study"):
        locks = [_lock(folder, path.stem) for path in sorted((folder / _LOCKS).glob("trial-*.lock"))]
        try:
            for lock in locks:
                lock.acquire(blocking=False)
        except Timeout as error:
            raise UserError(f"another process is searching in {folder}: stop it before overwrite=true.") from error
        finally:
            for lock in locks:
                lock.release()
        (folder / STUDY_NAME).unlink(missing_ok=True)
        for trial in folder.glob("trial-*"):
            shutil.rmtree(trial)


def _open(folder: Path) -> "optuna.Study":
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(folder / STUDY_NAME)
    try:
        # The default lock is a symbolic link, which never counts as stale if two machines mount the folder differently.
        storage = optuna.storages.JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))
        return optuna.create_study(storage=storage, study_name=folder.name, direction="maximize", load_if_exists=True)
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}): name another search with name=OTHER.") from error


def _lock(folder: Path, name: str) -> FileLock:
    (folder / _LOCKS).mkdir(parents=True, exist_ok=True)
    return FileLock(folder / _LOCKS / f"{name}.lock")


def _sampler(seed: int, number: int) -> "optuna.samplers.BaseSampler":
    """A sampler for one trial: with the run's seed alone, it would repeat what an earlier process has drawn."""
    import numpy as np
    from optuna.samplers import TPESampler

    # A running trial counts as bad, so that the slots do not all try the same values.
    return TPESampler(constant_liar=True, seed=int(np.random.SeedSequence((seed, number)).generate_state(1)[0]))
