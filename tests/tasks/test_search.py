"""`task=search`: trials are training runs, reported to a study that any number of processes share."""

import csv
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.results import read_result, write_result
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.tasks import search
from tests.conftest import composed
from tests.runs.test_results import make_result

SMALL = ("+experiment=search", "trainer=smoke", "callbacks.summary=null")
KEYS = ("optimizer.lr", "loss.supervised_contrastive.weight", "model.theta")
Outcome = Callable[[Job], int]
Search = Callable[..., list[Job]]


def finishes(job: Job, fingerprint: str = "abc") -> int:
    """A training whose accuracy is the higher the lower theta."""
    (theta,) = (word.partition("=")[2] for word in job.arguments if word.startswith("model.theta="))
    result = make_result(job.name, correct=50 - round(10 * float(theta)))
    assert result["data"]
    result["data"]["fingerprint"] = fingerprint
    write_result(job.folder, result)
    return 0


def config_of(job: Job) -> DictConfig:
    """The config that the arguments of a job compose."""
    assert job.module == "fpcn_lightning"
    return composed(*job.arguments)


@pytest.fixture
def search_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Search in `tmp_path` with trials whose end is given by `ends` instead of processes; returns the jobs that ran."""

    def searched(*words: str, ends: Outcome = finishes) -> list[Job]:
        ran: list[Job] = []

        def run_jobs(jobs: Iterable[Job], *rest: object, on_end: Callable[[Ended], None]) -> None:
            for job in jobs:
                ran.append(job)
                code = ends(job)
                on_end(Ended(job, code, 1.0, reason=f"it ended with {code}"))

        monkeypatch.setattr(search, "run_jobs", run_jobs)
        # Figures take most of the time; tests/report/test_search.py tests them.
        monkeypatch.setattr("fpcn_lightning.report.search.save_figure", lambda *_: None)
        run_task(composed(*SMALL, f"output={tmp_path}", *words))
        return ran

    return searched


@pytest.fixture
def trials(tmp_path: Path) -> Callable[[], dict[int, dict[str, str]]]:
    """The rows of trials.csv by number."""

    def read() -> dict[int, dict[str, str]]:
        with (tmp_path / "search" / "trials.csv").open(newline="", encoding="utf-8") as file:
            return {int(row["number"]): row for row in csv.DictReader(file)}

    return read


Trials = Callable[[], dict[int, dict[str, str]]]


def test_a_trial_is_a_training_without_the_test_split(search_here: Search, trials: Trials) -> None:
    jobs = search_here("search.trials=3", "seed=2", "overwrite=true")
    assert [job.name for job in jobs] == ["trial-0000", "trial-0001", "trial-0002"]
    for number, job in enumerate(jobs):
        cfg = config_of(job)
        assert (cfg.task, cfg.test, cfg.overwrite, cfg.seed) == ("train", False, False, 2)
        assert (cfg.name, cfg.variant) == ("search", job.name)
        assert job.arguments[-1] == f"hydra.run.dir='{job.folder}'"
        drawn = [OmegaConf.select(cfg, key) for key in KEYS]
        assert drawn == [float(trials()[number][key]) for key in KEYS]
    assert [float(trials()[0][key]) for key in KEYS] == [0.01, 1.0, 0.0]


def test_more_trials_are_added_to_the_finished_ones(search_here: Search, trials: Trials) -> None:
    assert len(search_here("search.trials=2")) == 2
    before = trials()
    assert search_here("search.trials=2") == []
    assert [job.name for job in search_here("search.trials=4")] == ["trial-0002", "trial-0003"]
    assert {number: trials()[number] for number in before} == before


def test_failed_trials_are_listed_and_counted(search_here: Search, trials: Trials, tmp_path: Path) -> None:
    jobs = search_here("search.trials=4", ends=lambda job: 1 if job.name == "trial-0002" else finishes(job))
    assert len(jobs) == 4
    assert (trials()[2]["state"], trials()[2]["error"]) == ("failed", "it ended with 1")
    assert "failed: it ended with 1" in (tmp_path / "search" / "trials.md").read_text(encoding="utf-8")
    assert search_here("search.trials=4") == []


def test_a_search_stops_if_the_configs_own_values_fail(search_here: Search, trials: Trials) -> None:
    with pytest.raises(UserError, match=r"the first trial, with the config's own values, failed: it ended with 1 \("):
        search_here("search.trials=3", ends=lambda _: 1)
    assert list(trials()) == [0]
    assert [job.name for job in search_here("search.trials=3")] == ["trial-0000", "trial-0001", "trial-0002"]


@pytest.mark.parametrize("code", [75, -signal.SIGINT])
def test_a_trial_of_another_process_or_one_that_was_stopped_is_resumed_later(
    search_here: Search, trials: Trials, code: int
) -> None:
    search_here("search.trials=3", ends=lambda job: code if job.name == "trial-0001" else finishes(job))
    assert [trials()[number]["state"] for number in range(3)] == ["finished", "unfinished", "finished"]
    values = [trials()[1][key] for key in KEYS]
    assert [job.name for job in search_here("search.trials=3")] == ["trial-0001"]
    assert trials()[1]["state"] == "finished"
    assert [trials()[1][key] for key in KEYS] == values


def test_trials_on_other_images_are_not_compared(search_here: Search, trials: Trials) -> None:
    search_here("search.trials=2")
    search_here("search.trials=3", ends=lambda job: finishes(job, fingerprint="xyz"))
    assert trials()[2]["error"] == "the images or their splits have changed since the search began"


def test_a_changed_config_is_an_error_and_overwrite_starts_again(search_here: Search, trials: Trials) -> None:
    search_here("search.trials=2")
    with pytest.raises(UserError, match=r"holds a search with optimizer\.momentum=0\.9, not 0\.8: .* name=OTHER"):
        search_here("search.trials=2", "optimizer.momentum=0.8")
    with pytest.raises(UserError, match=r"holds a search with search\.space\.model\.theta="):
        search_here("search.trials=2", "search.space.model.theta.high=0.5")
    assert len(search_here("search.trials=1", "optimizer.momentum=0.8", "overwrite=true")) == 1
    assert list(trials()) == [0]


def test_the_printed_command_trains_the_best_with_three_seeds(
    search_here: Search, trials: Trials, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search_here("search.trials=3", "seed=7", "+search.space.model.alpha={choices: [area, soft]}")
    text = (tmp_path / "search" / "trials.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    (line,) = (line.strip() for line in text.splitlines() if line.startswith("    python"))
    *program, multirun = shlex.split(line)[:4]
    words = shlex.split(line)[4:]
    assert (program, multirun) == (["python", "-m", "fpcn_lightning"], "-m")
    assert [word for word in words if word.startswith("seed=")] == ["seed=0,1,2"]
    cfg = composed(*(word for word in words if not word.startswith("seed=")))
    assert (cfg.task, cfg.test, cfg.name, cfg.variant) == ("train", True, "search-best", "best")
    best = max(trials().values(), key=lambda row: float(row["accuracy"]))
    assert [OmegaConf.select(cfg, key) for key in KEYS] == [float(best[key]) for key in KEYS]
    assert cfg.model.alpha == best["model.alpha"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search.trials=0"], "search.trials=0 must be at least 1"),
        (["hydra/launcher=basic"], "set hydra/launcher=slots"),
        (["~search.space.optimizer", "~search.space.loss", "~search.space.model"], "search.space is empty"),
        (["+search.space.model.thetta={low: 0, high: 1}"], "did you mean model.theta"),
    ],
)
def test_invalid_settings_of_a_search_are_errors(search_here: Search, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        search_here(*words)


def test_without_optuna_the_error_names_the_extra(search_here: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=re.escape("pip install 'fpcn-lightning[search]'")):
        search_here()


@pytest.mark.slow
def test_a_search_that_was_killed_is_resumed(rocks: Path, tmp_path: Path) -> None:
    words = [*SMALL, "data=folder", f"data.root={rocks}", "search.trials=3", "trainer.max_epochs=10"]
    command = [sys.executable, "-m", "fpcn_lightning", *words, "hydra.launcher.slots=2"]
    folder = tmp_path / "outputs" / "smoke" / "search"
    second = folder / "trial-0001" / "seed-0"

    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as killed:
        while not (second / "checkpoints" / "last.ckpt").exists():
            assert killed.poll() is None
            time.sleep(0.05)
        killed.kill()
    started = {path.parent.parent.name: path.read_text() for path in folder.glob("*/*/output.log")}
    assert not (folder / "trials.md").exists()

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    results = {number: read_result(folder / f"trial-{number:04d}" / "seed-0" / "result.json") for number in range(3)}
    assert all(result["status"] == "finished" for result in results.values())
    for result in results.values():
        assert result["metrics"]
        assert result["metrics"]["val"]
        assert result["metrics"]["test"] == {}
    with (folder / "trials.csv").open(newline="", encoding="utf-8") as file:
        rows = {int(row["number"]): row for row in csv.DictReader(file)}
    assert {row["state"] for row in rows.values()} == {"finished"}
    assert sorted(rows) == [0, 1, 2]
    for number, result in results.items():
        cfg = OmegaConf.create(result["config"])
        assert [OmegaConf.select(cfg, key) for key in KEYS] == [float(rows[number][key]) for key in KEYS]
    # The second trial was started again with the same values, in its folder.
    first, again = re.findall(r"^\$ (.*)$", (second / "output.log").read_text(), re.MULTILINE)
    assert first == again
    assert "trial-0001" in started
