"""Trainings as real processes that are killed or stopped by signals: one, two ranks, and the jobs of a sweep."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fpcn_lightning.runs.results import Result, read_result
from tests.callbacks.test_step_checkpoint import assert_same, content

pytestmark = pytest.mark.slow

# The command line, with a training that sends a signal in the step (epoch, batch) that the environment names.
PROGRAM = """
import os, signal
from pathlib import Path
from fpcn_lightning.cli.main import main
from fpcn_lightning.modules.classifier import Classifier

step = Classifier.training_step

def signalled(module, batch, batch_idx):
    number, epoch, index = (int(word) for word in os.environ["SIGNAL"].split())
    if (module.current_epoch, batch_idx, module.global_rank) == (epoch, index, 0) and not Path("signalled").exists():
        Path("signalled").touch()
        os.kill(os.getpid(), number)
    return step(module, batch, batch_idx)

Classifier.training_step = signalled
if __name__ == "__main__":
    main()
"""
NOTHING = "0 99 0"
Ended = tuple[Path, Result]  # the folder of a run, and its record


class Runs:
    """Runs the command line in a folder."""

    def __init__(self, folder: Path, rocks: Path) -> None:
        self.folder, self.program = folder, folder / "program.py"
        self.program.write_text(PROGRAM)
        self.words: tuple[str, ...] = (
            "trainer=smoke",
            "data=folder",
            f"data.root={rocks}",
            f"output={folder}",
            "model=plain",
            "trainer.limit_train_batches=1.0",
            "data.epoch_length=4",
            "trainer.max_epochs=6",
        )

    def __call__(self, *words: str, at: str = NOTHING) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(self.program), *self.words, *words]
        environment = {**os.environ, "SIGNAL": at, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=600
        )

    def result(self, name: str, variant: str = "plain") -> Ended:
        folder = self.folder / name / variant / "seed-0"
        return folder, read_result(folder / "result.json")


@pytest.fixture
def runs(tmp_path: Path, rocks: Path) -> Runs:
    return Runs(tmp_path, rocks)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, rocks: Path) -> Ended:
    """The run of one process that nothing stops."""
    runs = Runs(tmp_path_factory.mktemp("whole"), rocks)
    assert runs("name=whole").returncode == 0
    return runs.result("whole")


def assert_same_runs(whole: Ended, stopped: Ended) -> None:
    (one, expected), (other, resumed) = whole, stopped
    assert resumed["status"] == "finished"
    assert resumed["metrics"] == expected["metrics"]
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    assert_same(content(one), content(other))


@pytest.mark.parametrize(
    "number",
    # A kill is also in tests/quickstart/test_pipeline.py and tests/callbacks/test_step_checkpoint.py.
    [
        pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive),
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive),
    ],
)
def test_a_process_is_stopped_and_goes_on(runs: Runs, whole: Ended, number: signal.Signals) -> None:
    words = ("name=stopped", "training.checkpoint_every=1steps", "data.workers=1")
    stopped = runs(*words, at=f"{number} 1 2")
    if number == signal.SIGKILL:
        assert stopped.returncode == -signal.SIGKILL
        step = 6
    else:
        name = "Ctrl-C" if number == signal.SIGINT else number.name
        assert stopped.returncode == 128 + number
        sentence = f"stopped by {name} after step 7; run the same command again to go on from there."
        assert stopped.stderr.splitlines()[-1] == sentence
        assert "Traceback" not in stopped.stderr
        step = 7
    folder, record = runs.result("stopped")
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == step
    assert record["seconds"]["fit"]
    assert runs(*words).returncode == 0
    assert_same_runs(whole, runs.result("stopped"))


@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.exhaustive), signal.SIGTERM])
def test_two_ranks_are_stopped_and_go_on(runs: Runs, number: signal.Signals) -> None:
    ranks = ("trainer.devices=2", "trainer.strategy=ddp", "training.checkpoint_every=1steps")
    undisturbed = runs("name=whole", *ranks)
    assert undisturbed.returncode == 0, undisturbed.stderr
    stopped = runs("name=stopped", *ranks, at=f"{number} 1 2")
    assert stopped.returncode == (-number if number == signal.SIGKILL else 128 + number), stopped.stderr
    folder, _ = runs.result("stopped")
    step = 6 if number == signal.SIGKILL else 7
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == step
    again = runs("name=stopped", *ranks)
    assert again.returncode == 0, again.stderr
    assert_same_runs(runs.result("whole"), runs.result("stopped"))


def assert_stopped_sweep(runs: Runs, whole: Ended, code: int, said: str, words: tuple[str, ...]) -> None:
    assert code == 128 + signal.SIGTERM, said
    assert said.splitlines()[-1].startswith("stopped by SIGTERM")
    _, record = runs.result("stopped")
    assert record["status"] == "interrupted"
    assert not (runs.folder / "stopped" / "other").exists()
    again = runs(*words)
    assert again.returncode == 0, again.stderr
    assert_same_runs(whole, runs.result("stopped"))
    assert runs.result("stopped", "other")[1]["status"] == "finished"


SWEEP = ("-m", "name=stopped", "variant=plain,other", "training.checkpoint_every=1h")


def test_the_basic_launcher_starts_no_other_job(runs: Runs, whole: Ended) -> None:
    words = (*SWEEP, "hydra/launcher=basic")
    stopped = runs(*words, at=f"{signal.SIGTERM} 1 2")
    assert_stopped_sweep(runs, whole, stopped.returncode, stopped.stderr, words)


def test_a_sweep_on_slots_stops_its_jobs_after_their_step(runs: Runs, whole: Ended) -> None:
    words = (*SWEEP, "slots=1")
    command = [sys.executable, "-m", "fpcn_lightning", *runs.words, *words]
    sweep = subprocess.Popen(
        command,
        cwd=runs.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    log = runs.folder / "stopped" / "plain" / "seed-0" / "metrics.csv"
    while not log.exists() or len(log.read_text().splitlines()) < 3:  # in the middle of the training
        assert sweep.poll() is None
        time.sleep(0.01)
    sweep.send_signal(signal.SIGTERM)
    _, said = sweep.communicate(timeout=600)
    assert "stopped by Ctrl-C after step" in (log.parent / "output.log").read_text()  # by which a sweep stops its jobs
    assert_stopped_sweep(runs, whole, sweep.returncode, said, words)
