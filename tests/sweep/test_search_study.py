"""A search is the same whether it was interrupted or not, and however many processes share it."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.search_study import STUDY_NAME, SearchStudy, delete_study

CONFIG: dict[str, object] = {"rate": 0.01, "gate": "product", "epochs": 8}
SPACE: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 0.1, log=True),
    "gate": CategoricalDistribution(["product", "residual"]),
}
Drawn = list[Mapping[str, Any]]

# Another process that claims trials of the same search; it prints their numbers.
CLAIMER = """
import sys, time
from pathlib import Path
from tests.sweep.test_search_study import accuracy_of, open_study
study, limit, sleeps = open_study(Path(sys.argv[1])), int(sys.argv[2]), sys.argv[3] == "sleep"
while (claim := study.claim(limit)) is not None:
    print(claim.number, flush=True)
    if sleeps:
        time.sleep(600)
    study.finish(claim.number, accuracy_of(claim.values))
"""


def open_study(folder: Path, seed: int = 0, **changes: Any) -> SearchStudy:
    folder.mkdir(exist_ok=True)
    return SearchStudy(folder, changes.get("space", SPACE), CONFIG | changes.get("config", {}), seed)


def accuracy_of(values: Mapping[str, Any]) -> float:
    return float(1 - values["rate"]) * (0.9 if values["gate"] == "residual" else 0.8)


def run_one(study: SearchStudy, limit: int = 100) -> Mapping[str, Any]:
    claim = study.claim(limit)
    assert claim is not None
    study.finish(claim.number, accuracy_of(claim.values), images=60)
    return claim.values


def start(folder: Path, limit: int, *, sleeps: bool = False) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", CLAIMER, str(folder), str(limit), "sleep" if sleeps else "finish"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_the_first_trial_has_the_own_values_of_the_config(tmp_path: Path) -> None:
    assert run_one(open_study(tmp_path / "search")) == {"rate": 0.01, "gate": "product"}


def test_a_search_draws_the_same_values_whether_it_was_interrupted_or_not(tmp_path: Path) -> None:
    study = open_study(tmp_path / "whole")
    # Twice as many as are drawn before the sampler uses the results.
    whole: Drawn = [run_one(study) for _ in range(20)]
    interrupted: Drawn = [run_one(open_study(tmp_path / "parts")) for _ in range(20)]
    assert interrupted == whole
    assert len({values["rate"] for values in whole}) == 20
    assert [run_one(open_study(tmp_path / "other", seed=1)) for _ in range(3)][1:] != whole[1:3]


def test_failed_trials_count_and_are_not_repeated(tmp_path: Path) -> None:
    study = open_study(tmp_path / "search")
    run_one(study)
    claim = study.claim(2)
    assert claim is not None
    study.fail(claim.number, "the loss is not finite")
    assert open_study(tmp_path / "search").claim(2) is None
    assert [(trial.state.name, trial.user_attrs) for trial in study.trials()] == [
        ("COMPLETE", {"images": 60}),
        ("FAIL", {"error": "the loss is not finite"}),
    ]
    assert study.remaining(2) == 0
    assert study.remaining(5) == 3


def test_a_trial_that_was_left_is_for_another_process(tmp_path: Path) -> None:
    study = open_study(tmp_path / "search")
    claim = study.claim(1)
    assert claim is not None
    assert study.claim(1) is None
    study.leave(claim.number)
    assert study.claim(1) is None
    assert open_study(tmp_path / "search").claim(1) == claim


def test_a_trial_without_all_its_values_fails_and_the_next_is_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    run_one(open_study(folder))
    storage = JournalStorage(JournalFileBackend(str(folder / STUDY_NAME)))
    optuna.load_study(storage=storage, study_name="search").ask()
    study = open_study(folder)
    claim = study.claim(3)
    assert claim is not None
    assert claim.number == 2
    assert study.trials()[1].state.name == "FAIL"


@pytest.mark.slow
def test_a_trial_is_taken_over_when_its_process_has_died_and_not_before(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    with start(folder, 2, sleeps=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0\n"
        study = open_study(folder)
        second = study.claim(2)
        assert second is not None
        assert second.number == 1
        assert study.claim(2) is None
        other.send_signal(signal.SIGKILL)
        other.wait()
    first = study.claim(2)
    assert first is not None
    assert (first.number, first.values) == (0, {"rate": 0.01, "gate": "product"})


@pytest.mark.slow
def test_several_processes_share_the_trials(tmp_path: Path) -> None:
    processes = [start(tmp_path / "search", 17) for _ in range(3)]
    claimed = [[int(line) for line in process.communicate()[0].splitlines()] for process in processes]
    assert sorted(number for numbers in claimed for number in numbers) == list(range(17))
    trials = open_study(tmp_path / "search").trials()
    assert all(trial.state.name == "COMPLETE" for trial in trials)
    assert len({trial.params["rate"] for trial in trials}) == 17


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {"epochs": 9}}, "holds a search with epochs=8, not 9: .* name=OTHER"),
        ({"config": {"momentum": 0.9}}, "momentum=absent, not 0.9"),
        ({"space": {"rate": FloatDistribution(1e-3, 0.1, log=True)}}, "search.space.gate=.*, not absent"),
        ({"space": SPACE | {"rate": FloatDistribution(1e-3, 0.1, log=True)}}, "search.space.rate=.*0.0001.*0.001"),
    ],
)
def test_another_search_in_the_same_folder_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    run_one(open_study(tmp_path / "search"))
    with pytest.raises(UserError, match=message):
        open_study(tmp_path / "search", **changes)
    assert open_study(tmp_path / "other", **changes).claim(1) is not None


def test_trials_on_other_images_are_distinguished(tmp_path: Path) -> None:
    assert open_study(tmp_path / "search").same_images("abc")
    study = open_study(tmp_path / "search")
    assert not study.same_images("xyz")
    assert study.same_images("abc")


def test_a_study_is_deleted_unless_another_process_uses_it(tmp_path: Path) -> None:
    folder = tmp_path / "search"
    study = open_study(folder)
    claim = study.claim(5)
    assert claim is not None
    (folder / "trial-0000").mkdir()
    with pytest.raises(UserError, match=r"another process is searching in .*search: stop it"):
        delete_study(folder)
    assert (folder / "trial-0000").exists()
    study.finish(claim.number, 0.5)
    delete_study(folder)
    assert not (folder / "trial-0000").exists()
    assert open_study(folder, config={"epochs": 9}).trials() == []


def test_a_damaged_study_is_named(tmp_path: Path) -> None:
    run_one(open_study(tmp_path / "search"))
    log = tmp_path / "search" / STUDY_NAME
    log.write_text(log.read_text(encoding="utf-8").replace('"op_code"', "op_code", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"study\.log is damaged"):
        open_study(tmp_path / "search")
