"""The last steps with simulated eight bits."""

from typing import Any

import pytest
import torch
from torch import Tensor

from fpcn_lightning.callbacks.quantised_end import QuantisedEnd
from fpcn_lightning.errors import UserError
from fpcn_lightning.models import fake_quantisation
from fpcn_lightning.models.fake_quantisation import FakeQuantisation
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.classifier import Classifier
from tests.callbacks.test_step_checkpoint import LENGTH, PLACES, killed_and_resumed
from tests.tasks.conftest import Train, train

__all__ = ["train"]
FOUR_STEPS = ("model=plain", "data.epoch_length=2", "trainer.max_epochs=2", "trainer.limit_train_batches=1.0")


def test_only_the_last_steps_are_rounded_and_only_in_training(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    rounded = fake_quantisation.quantised_weight
    now: dict[str, Any] = {}

    def watched(weight: Tensor, levels: int) -> Tensor:
        seen.append((now["trainer"].global_step, now["trainer"].validating or now["trainer"].sanity_checking))
        return rounded(weight, levels)

    begin = QuantisedEnd.on_fit_start

    def remembered(callback: QuantisedEnd, trainer: Any, module: Any) -> None:
        now["trainer"] = trainer
        begin(callback, trainer, module)

    monkeypatch.setattr(fake_quantisation, "quantised_weight", watched)
    monkeypatch.setattr(QuantisedEnd, "on_fit_start", remembered)
    folder, result = train(*FOUR_STEPS, "training.quantised_steps=3")
    assert {step for step, _ in seen} == {1, 2, 3}
    assert not any(validating for _, validating in seen)
    loaded = checkpoints.load(folder / "checkpoints" / "best.ckpt")
    alone, _ = train(*FOUR_STEPS, folder="alone")
    before = checkpoints.load(alone / "checkpoints" / "best.ckpt")
    assert loaded.network.state_dict().keys() == before.network.state_dict().keys()
    assert result["status"] == "finished"


def test_the_best_epoch_is_one_that_ends_in_them(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Classifier._measure

    def measured(module: Classifier, split: str) -> None:
        measure(module, split)
        if module.trainer.state.fn == "fit":
            module.trainer.callback_metrics["val/accuracy"] = torch.tensor(1.0 - module.current_epoch / 10)

    monkeypatch.setattr(Classifier, "_measure", measured)
    folder, _ = train(*FOUR_STEPS, "training.quantised_steps=2")
    assert torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 1


def test_batch_normalisation_keeps_its_statistics(train: Train) -> None:
    folder, _ = train(*FOUR_STEPS, "training.quantised_steps=4")
    state = checkpoints.read(folder / "checkpoints" / "last.ckpt").weights
    counted = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert counted
    assert all(int(value) == 0 for value in counted)


@pytest.mark.slow
def test_a_training_that_is_killed_in_them_is_resumed(train: Train) -> None:
    words = (*LENGTH, "model=plain", "training.quantised_steps=7")
    killed_and_resumed(train, words, PLACES[:5], "1steps")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("training.quantised_steps=-1",), "must not be negative"),
        (("training.quantised_steps=5",), "more than the 4 steps"),
        (("training.quantised_steps=2", "callbacks=early_stopping"), r"callbacks\.early_stopping=null"),
    ],
)
def test_what_cannot_be_done_is_an_error(train: Train, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(*FOUR_STEPS, *words)


def test_it_is_off_by_default(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: FakeQuantisation, network: object) -> None:
        raise AssertionError("nothing is to be rounded")

    monkeypatch.setattr(FakeQuantisation, "__init__", never)
    train(*FOUR_STEPS)
