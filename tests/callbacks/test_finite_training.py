"""A training that diverges stops within the step, and its last good checkpoint is kept."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fpcn_lightning.callbacks import finite_training
from fpcn_lightning.callbacks.finite_training import FiniteTraining
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.checkpoints import read
from fpcn_lightning.modules.classifier import Classifier
from tests.tasks.conftest import Train, train  # noqa: F401 - a fixture


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    train: Train,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Classifier.training_step

    def diverges(self: Classifier, batch: object, batch_idx: int) -> Tensor:
        loss = step(self, batch, batch_idx)  # type: ignore[arg-type]
        return loss * float("inf") if (self.current_epoch, batch_idx) == (1, 0) else loss

    monkeypatch.setattr(Classifier, "training_step", diverges)
    with pytest.raises(UserError, match=r"the loss is inf in epoch 2, step 2, on the images images/\w+/\d+\.jpg, .*lr"):
        train("model=plain")
    for name in ("best", "last"):
        read(tmp_path / "run" / "checkpoints" / f"{name}.ckpt")
    monkeypatch.setattr(Classifier, "training_step", step)
    _, result = train("model=plain")
    assert (result["status"], result["epochs"]) == ("finished", 2)


@pytest.mark.parametrize(("epoch", "batch"), [(1, 0), (1, 1)], ids=["another step follows", "the epoch ends"])
def test_a_loss_that_is_checked_later_names_its_own_step_and_is_never_saved(
    train: Train,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    epoch: int,
    batch: int,
) -> None:
    """As on a GPU, where the loss of a step is read when the next one begins."""
    step, seen = Classifier.training_step, []

    def diverges(self: Classifier, images: Batch, batch_idx: int) -> Tensor:
        loss = step(self, images, batch_idx)
        if (self.current_epoch, batch_idx) != (epoch, batch):
            return loss
        seen.extend(images.positions.tolist())
        return loss * float("nan")

    monkeypatch.setattr(Classifier, "training_step", diverges)
    monkeypatch.setattr(FiniteTraining, "_checks_later", staticmethod(lambda _: True))
    monkeypatch.setattr(finite_training, "_copied", lambda loss: (loss.detach().clone(), None))
    with pytest.raises(
        UserError, match=rf"the loss is nan in epoch 2, step {2 * epoch + batch}, on the images"
    ) as raised:
        train("model=plain", "training.checkpoint_every=1steps")
    names = [line.split(",")[0] for line in (tmp_path / "run" / "split.csv").read_text().splitlines()[1:]]
    assert names[seen[0]] in str(raised.value)
    for name in ("best", "last"):
        saved = torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert all(value.isfinite().all() for value in saved["state_dict"].values())


def test_weights_that_are_not_finite_are_never_saved(
    train: Train,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = Classifier.on_validation_epoch_end

    def spoilt(self: Classifier) -> None:
        end(self)
        if self.current_epoch == 1:
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))

    monkeypatch.setattr(Classifier, "on_validation_epoch_end", spoilt)
    with pytest.raises(UserError, match=r"the weights are NaN or infinite after epoch 2;.* epochs before are kept"):
        train("model=plain")
    for name in ("best", "last"):
        assert torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"] == 0


def test_predictions_that_are_not_finite_are_no_epoch(
    train: Train,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def keep_nothing(self: Classifier, split: str, measure: object = Classifier._measure) -> None:
        measure(self, split)  # type: ignore[operator]
        self.predictions[split].probabilities.fill_(float("nan"))

    monkeypatch.setattr(Classifier, "_measure", keep_nothing)
    with pytest.raises(UserError, match="predictions of the validation images are NaN or infinite after epoch 1"):
        train("model=plain")
    assert not list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))
