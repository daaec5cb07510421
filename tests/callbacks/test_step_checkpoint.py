"""A training that is killed between or within steps ends as one that was not: weights, log and result."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch

from fpcn_lightning.callbacks import step_checkpoint
from fpcn_lightning.callbacks.step_checkpoint import StepCheckpoint
from fpcn_lightning.data.pictures import Batch, RockPictures
from fpcn_lightning.data.sampler import Step
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.runs.results import read_result
from fpcn_lightning.stopping import Stopped, stopped
from tests.tasks.conftest import Train, train

__all__ = ["train"]

LENGTH = ("trainer.max_epochs=3", "data.epoch_length=4", "trainer.limit_train_batches=1.0")
CASES = {
    "plain": ("model=plain", "lr_scheduler.interval=step"),
    "fpcn": ("model=fpcn", "training.freeze_epochs=1"),
    "average": ("model=plain", "training.ema=0.5"),
    "mean": ("model=plain", "training.average_from=0.3"),
    "plateau": ("model=plain", "lr_scheduler=plateau", "optimizer.lr=0.3"),
    "accumulated": ("model=plain", "trainer.accumulate_grad_batches=2"),
    "validations": ("model=plain", "+trainer.val_check_interval=2", "training.ema=0.5"),
    "rare validations": ("model=plain", "trainer.check_val_every_n_epoch=2"),
    "adam": ("model=plain", "optimizer=adamw", "training.mixup=0.5"),
}
FURTHER_CASES = ("accumulated", "adam", "average", "plateau", "rare validations", "validations")
STATES = ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours handles it."""


def content(folder: Path) -> dict[str, Any]:
    """The last checkpoint, without what differs between two equal trainings."""
    found: dict[str, Any] = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {
        name: found.get(name) for name in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers")
    }


def assert_same(one: object, other: object, where: str = "") -> None:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}.{number}")
    else:
        assert one == other, where


class KillsAt:
    """Kills a training at one of the places that it passes, each a method of the callbacks of Lightning."""

    def __init__(self, place: str, epoch: int, batch: int | None = None) -> None:
        self.place, self.epoch, self.batch = place, epoch, batch

    def __enter__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        original = getattr(StepCheckpoint, self.place, None)

        def hook(callback: StepCheckpoint, trainer: lightning.Trainer, *arguments: Any) -> None:
            numbers = [each for each in arguments if isinstance(each, int)]
            now = trainer.state.fn == "fit" and trainer.current_epoch == self.epoch
            if original is not None:
                original(callback, trainer, *arguments)
            if now and self.batch in (None, *numbers):
                raise Killed

        self.patch.setattr(StepCheckpoint, self.place, hook, raising=False)

    def __exit__(self, *_: object) -> None:
        self.patch.undo()


# In the order in which a training passes them: it is killed at each of them in turn.
PLACES = [
    ("on_train_batch_end", 0, 0),
    ("on_train_batch_start", 1, 1),
    ("on_train_batch_end", 1, 1),
    ("on_train_batch_start", 1, 2),
    ("on_validation_batch_end", 1, 0),
    ("on_train_epoch_end", 1, None),
    ("on_train_epoch_start", 2, None),
    ("on_train_batch_end", 2, 3),
    ("on_train_end", 3, None),
]


def killed_and_resumed(train: Train, words: Sequence[str], places: Sequence[tuple[Any, ...]], every: str) -> None:
    whole, result = train(*words, folder="whole")
    folder = whole.parent / "killed"
    for place in places:
        with KillsAt(*place), pytest.raises(Killed):
            train(*words, f"training.checkpoint_every={every}", folder="killed")
    _, again = train(*words, f"training.checkpoint_every={every}", folder="killed")
    assert again["metrics"] == result["metrics"]
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert_same(content(folder), content(whole))


def test_a_killed_training_ends_as_one_that_was_not(train: Train) -> None:
    killed_and_resumed(train, (*LENGTH, *CASES["plain"]), [("on_train_batch_end", 1, 2)], "1steps")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*could not find the monitored key")
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.exhaustive if case in FURTHER_CASES else ()) for case in CASES],
)
def test_whatever_has_a_state_is_resumed(train: Train, case: str) -> None:
    killed_and_resumed(train, (*LENGTH, *CASES[case]), PLACES, "1steps")


@pytest.mark.slow
def test_a_student_with_stored_logits_is_resumed(train: Train) -> None:
    teacher, _ = train("model=plain", "data.epoch_length=4", folder="teacher")
    words = ("model=plain", "distillation=kd", f"teacher={teacher}/checkpoints/best.ckpt")
    killed_and_resumed(train, (*LENGTH, *words), PLACES, "1steps")


class Counted:
    """Counts the batches that a training draws, and stops it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stops_at: tuple[int, int] | None = None) -> None:
        self.drawn: list[tuple[int, int]] = []
        step = Classifier.training_step

        def counted(module: Classifier, batch: Any, batch_idx: int) -> torch.Tensor:
            self.drawn.append((module.current_epoch, batch_idx))
            if self.drawn[-1] == stops_at:
                raise Killed
            return step(module, batch, batch_idx)

        monkeypatch.setattr(Classifier, "training_step", counted)


def test_only_the_steps_after_the_last_checkpoint_are_trained_again(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model=plain", *LENGTH, "training.checkpoint_every=3steps")
    with monkeypatch.context() as patch:
        Counted(patch, stops_at=(1, 3))
        with pytest.raises(Killed):
            train(*words)
    made: list[int | None] = []
    read = RockPictures.__getitem__

    def counted(pictures: RockPictures, step: Step) -> Batch:
        made.append(step.epoch)
        return read(pictures, step)

    monkeypatch.setattr(RockPictures, "__getitem__", counted)
    again = Counted(monkeypatch)
    train(*words)
    assert again.drawn == [(1, 2), (1, 3), *((2, number) for number in range(4))]
    assert [epoch for epoch in made if epoch is not None] == [1, 1, 2, 2, 2, 2]


def test_a_time_between_two_checkpoints(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = iter(range(10_000))
    monkeypatch.setattr(step_checkpoint, "time", SimpleNamespace(monotonic=lambda: 60.0 * next(minutes)))
    saved: list[int] = []
    save = lightning.Trainer.save_checkpoint

    def noted(trainer: lightning.Trainer, *words: Any) -> None:
        saved.append(trainer.global_step)
        save(trainer, *words)

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", noted)
    train("model=plain", *LENGTH, "trainer.max_epochs=1", "training.checkpoint_every=2min")
    assert saved == [1, 3, 4, 4]  # the last two are those of the epoch, best and last
    saved.clear()
    train("model=plain", *LENGTH, "trainer.max_epochs=1", "training.checkpoint_every=null", folder="without")
    assert saved == [4, 4]


@pytest.mark.parametrize("text", ["5", "0min", "3epochs", "often"])
def test_an_interval_that_is_none_is_an_error(train: Train, text: str) -> None:
    with pytest.raises(UserError, match=rf"training\.checkpoint_every={text} must be a number of steps, min or h"):
        train(f"training.checkpoint_every={text}")


def test_the_interval_does_not_make_it_another_run(train: Train) -> None:
    _, one = train("model=plain")
    train("model=plain", "training.checkpoint_every=7steps")
    assert one["status"] == "finished"


def test_a_run_is_not_resumed_within_an_epoch_by_another_number_of_processes(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model=plain", *LENGTH, "training.checkpoint_every=1steps")
    with monkeypatch.context() as patch:
        Counted(patch, stops_at=(1, 2))
        with pytest.raises(Killed):
            train(*words)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    changed = torch.load(path, weights_only=True)
    changed[step_checkpoint.STATE]["processes"] = 2
    torch.save(changed, path)
    with pytest.raises(UserError, match="in the middle of an epoch with 2 processes, not 1: resume it with as many"):
        train(*words)


class Signalled:
    """Sends signals to this process in a step or in a batch of the validation of an epoch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, place: str, epoch: int, *numbers: signal.Signals) -> None:
        original = getattr(Classifier, place)

        def signalled(module: Classifier, batch: Any, batch_idx: int) -> Any:
            if module.trainer.state.fn == "fit" and module.current_epoch == epoch and batch_idx == (place == STEP):
                for number in numbers:
                    os.kill(os.getpid(), number)
            return original(module, batch, batch_idx)

        monkeypatch.setattr(Classifier, place, signalled)


STEP, VALIDATION = "training_step", "validation_step"


@pytest.mark.parametrize(
    ("number", "place", "epoch", "steps"),
    [
        (signal.SIGINT, STEP, 1, 6),
        pytest.param(signal.SIGTERM, STEP, 0, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, VALIDATION, 1, 8, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, VALIDATION, 2, 12, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_after_the_step_and_saves_it(
    train: Train, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, place: str, epoch: int, steps: int
) -> None:
    words = (*LENGTH, *CASES["average"], "data.evaluation_batch_size=2")
    whole, result = train(*words, folder="whole")
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with monkeypatch.context() as patch:
        Signalled(patch, place, epoch, number)
        with pytest.raises(Stopped) as caught:
            train(*words, folder="stopped")
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    sentence = f"stopped by {name} after step {steps}; run the same command again to go on from there."
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 128 + number
    assert before == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    folder = whole.parent / "stopped"
    record = read_result(folder / "result.json")
    assert record["status"] == "interrupted"
    assert record["seconds"]["fit"]
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == steps
    _, again = train(*words, folder="stopped")
    assert again["metrics"] == result["metrics"]
    assert (folder / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert_same(content(folder), content(whole))


def test_a_second_signal_stops_at_once(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        Signalled(patch, STEP, 1, signal.SIGINT, signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            train("model=plain", *LENGTH)
    found = stopped(caught.value)
    assert found is not None
    assert str(found) == "stopped by Ctrl-C; run the same command again."
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert read_result(tmp_path / "run" / "result.json")["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) == before
