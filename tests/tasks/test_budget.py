"""The length of a training: enough steps for many classes, and as long as the budget says."""

import json
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.recording import TRAINING_PLAN
from fpcn_lightning.runs.results import Result
from fpcn_lightning.tasks import budget
from fpcn_lightning.tasks.budget_text import Budget
from tests.tasks.conftest import Train, train

__all__ = ["train"]
WORDS = ("model=plain", "trainer.limit_train_batches=1.0", "trainer.limit_val_batches=1", "trainer.max_epochs=2")


def steps(folder: Path) -> int:
    """Optimiser steps before the test, whose row is the last of the log."""
    rows = [row.split(",") for row in (folder / "metrics.csv").read_text().splitlines()]
    return int(rows[-1][rows[0].index("step")])


@pytest.mark.parametrize(("words", "expected"), [
    (("data.epoch_length=3",), 6),
    (("data.epoch_length=3", "training.min_steps=11"), 12),
    (("data.epoch_length=3", "training.min_steps=4"), 6),
    (("training.budget=7steps",), 8),
    (("data.epoch_length=3", "training.budget=3epochs"), 9),
    (("training.budget=2 steps", "training.min_steps=5"), 6),
])  # fmt: skip
def test_the_number_of_steps(train: Train, words: tuple[str, ...], expected: int) -> None:
    folder, result = train(*WORDS, *words)
    assert steps(folder) == expected
    assert result["epochs"] == (3 if "training.budget=3epochs" in words else 2)
    assert not (folder / TRAINING_PLAN).exists()


def test_a_time_is_planned_from_measured_steps(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "seconds_per_step", lambda *_: 3.0)
    monkeypatch.setattr(budget, "seconds_per_image", lambda *_: 1.0)
    folder, result = train(*WORDS, "training.budget=1min")
    # Of 30 seconds an epoch, a validation takes one for each image; the rest is steps of 3 seconds.
    expected = int((30 - validation_images(result)) / 3)
    assert steps(folder) == 2 * expected
    assert json.loads((folder / TRAINING_PLAN).read_text()) == {"epochs": 2, "steps": expected}


def validation_images(result: Result) -> int:
    assert result["data"] is not None
    return result["data"]["images"]["val"]


def test_a_resumed_run_keeps_its_plan(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / TRAINING_PLAN).write_text('{"epochs": 2, "steps": 2}')
    monkeypatch.setattr(budget, "seconds_per_step", lambda *_: pytest.fail("measured again"))
    folder, _ = train(*WORDS, "training.budget=1h")
    assert steps(folder) == 4
    monkeypatch.setattr(budget, "seconds_per_step", lambda *_: 1000.0)
    train(*WORDS, "training.budget=1h", "training.min_steps=6", "overwrite=true")
    assert steps(folder) == 6


def test_measured_seconds_change_nothing(train: Train) -> None:
    usual, _ = train(*WORDS, "training.budget=4steps", folder="usual")
    measured, _ = train(*WORDS, "training.budget=0.00001min", "training.min_steps=4", folder="measured")
    assert (usual / "metrics.csv").read_text() == (measured / "metrics.csv").read_text()


@pytest.mark.parametrize("text", ["20", "min", "-3epochs", "0steps", "20minutes", "nanmin"])
def test_a_text_that_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"training\.budget=.* must be a number of steps, epochs, min or h"):
        Budget.parsed(text)


def test_several_processes_need_a_number(train: Train) -> None:
    with pytest.raises(UserError, match="a time is measured in one process"):
        train(*WORDS, "training.budget=20min", "trainer.devices=2")


def test_a_damaged_plan_is_named(train: Train, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / TRAINING_PLAN).write_text('{"epochs": 2}')
    with pytest.raises(UserError, match=f"{TRAINING_PLAN} is damaged"):
        train(*WORDS, "training.budget=20min")
