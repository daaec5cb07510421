"""Runs with a linear probe: as a network of its own, as the floor of a training, and as its start."""

from pathlib import Path

import pytest
import torch

from fpcn_lightning.errors import UserError
from fpcn_lightning.models import on_backbone
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.runs.predictions import PREDICTIONS_NAME
from fpcn_lightning.runs.results import Result
from tests.tasks.conftest import Train, train

__all__ = ["train"]
# Random weights that count as pretrained ones: whole validation and test splits, more than two steps.
WHOLE = ("trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0")


@pytest.fixture(autouse=True)
def pretrained_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pretrained(Backbone):
        def __init__(self, *arguments: object, **options: object) -> None:
            with torch.random.fork_rng():
                torch.manual_seed(5)
                super().__init__(*arguments, **options)  # type: ignore[arg-type]
            self.weights_source = "a test"

    monkeypatch.setattr(on_backbone, "Backbone", Pretrained)


def state(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    return loaded


def accuracy(result: Result, split: str = "test") -> float:
    assert result["metrics"] is not None
    return result["metrics"][split]["plain"]["accuracy"]  # type: ignore[literal-required, no-any-return]


def test_a_probe_is_a_run_like_any_other(train: Train) -> None:
    folder, result = train("model=probe", *WHOLE, figures=True)
    assert result["status"] == "finished"
    assert result["probe"]["chosen"]  # type: ignore[index]
    assert result["probe"]["test"] == pytest.approx(accuracy(result))  # type: ignore[index]
    assert result["probe"]["val"] == pytest.approx(accuracy(result, "val"))  # type: ignore[index]
    assert result["checkpoint"] == "checkpoints/best.ckpt"
    for name in (PREDICTIONS_NAME, "confusion_matrix.png", "split.csv"):
        assert (folder / name).exists()
    other, again = train("model=probe", *WHOLE, "seed=1", folder="other")
    assert accuracy(again) == accuracy(result)
    assert all(torch.equal(value, state(other)[name]) for name, value in state(folder).items())


def test_a_finished_probe_is_not_run_again(train: Train) -> None:
    folder, result = train("model=probe")
    before = (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    assert train("model=probe")[1] == result
    assert (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns == before


def test_a_training_that_is_worse_than_its_probe_ends_with_it(train: Train) -> None:
    """At a learning rate that destroys the weights."""
    probe, floor = train("model=probe", *WHOLE, folder="probe")
    folder, result = train("model=plain", "training.probe=floor", "optimizer.lr=30", *WHOLE)
    assert result["probe"]["chosen"]  # type: ignore[index]
    assert accuracy(result) == accuracy(floor)
    assert accuracy(result, "val") == accuracy(floor, "val")
    assert all(torch.equal(value, state(probe)[name]) for name, value in state(folder).items())


def test_a_training_with_a_floor_is_otherwise_the_same(train: Train) -> None:
    plain, _ = train("model=plain", folder="plain")
    floor, _ = train("model=plain", "training.probe=floor", folder="floor")
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in (plain, floor)]
    assert rows[0][:-1] == rows[1][:-1]  # the last row is that of the test, whose weights may be those of the probe


def test_a_training_starts_from_its_probe(train: Train) -> None:
    """With a learning rate of almost 0, the first epoch is the probe."""
    _, result = train(
        "model=plain",
        "training.probe=start",
        "optimizer.lr=1e-12",
        "training.frozen_batch_norm=fixed",
        "training.freeze_epochs=2",
        *WHOLE,
    )
    assert accuracy(result, "val") == pytest.approx(result["probe"]["val"])  # type: ignore[index]
    assert not result["probe"]["chosen"]  # type: ignore[index]  # equally good: the trained weights are kept


def test_weights_between_probe_and_training(train: Train) -> None:
    probe, _ = train("model=probe", *WHOLE, folder="probe")
    folder, result = train("model=plain", "training.probe=floor", "training.interpolate=true", *WHOLE)
    share = result["probe"]["interpolation"]  # type: ignore[index]
    assert share in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert accuracy(result, "val") >= result["probe"]["val"]  # type: ignore[index]
    assert state(folder).keys() == state(probe).keys()


def test_a_network_without_such_a_layer_records_the_probe_only(train: Train) -> None:
    _, result = train("model=fpcn_gated", "training.probe=floor", *WHOLE)
    assert not result["probe"]["chosen"]  # type: ignore[index]
    with pytest.raises(UserError, match=r"training\.probe=start: FPCN with this inference mode has no linear layer"):
        train("model=fpcn_gated", "training.probe=start", folder="start")


def test_networks_without_a_pretrained_backbone_have_no_floor(train: Train) -> None:
    _, result = train("model=lenet", "training.probe=floor")
    assert "probe" not in result


def test_the_metric_of_the_best_epoch_is_one_that_a_probe_has(train: Train) -> None:
    words = ("callbacks.best.monitor=val/macro_f1", "training.probe=floor")
    with pytest.raises(UserError, match=r"callbacks\.best\.monitor=val/macro_f1: with training\.probe"):
        train("model=plain", *words)
    _, result = train("model=plain", "callbacks.best.monitor=val/loss", "callbacks.best.mode=min", words[1], *WHOLE)
    assert result["metrics"] is not None
    assert result["probe"]["val_loss"] is not None  # type: ignore[index]
