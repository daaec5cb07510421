"""The averaged weights are those that are validated, saved and tested, and a resumed run continues with both sets."""

import math
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch

from fpcn_lightning.callbacks.weight_average import WeightAverage, make_weight_average
from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError
from tests.modules.test_classifier import batch, classifier, loader, trainer
from tests.tasks.conftest import Train, train

__all__ = ["train"]
pytestmark = pytest.mark.filterwarnings("ignore:.*self.log.*", "ignore:.*num_workers", "ignore:.*log_every_n_steps")


class Weights(lightning.Callback):
    """The weights of the head after every step, and at every validation."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        self.steps.append(module.network.head.weight.detach().clone())

    def on_validation_batch_start(self, trainer: lightning.Trainer, module: Any, *_: Any) -> None:
        self.validated.append(module.network.head.weight.detach().clone())


def averages(average: WeightAverage, epochs: int = 4) -> Weights:
    seen = Weights()
    module = classifier("plain", optimizer__lr=0.1)
    trainer(average, seen, max_epochs=epochs, num_sanity_val_steps=0).fit(
        module, loader(batch()), loader(batch(seed=1))
    )
    head = module.network.linear_head
    assert head is not None
    seen.validated.append(head.weight.detach().clone())
    return seen


def test_the_moving_average_is_validated_and_left_in_the_module() -> None:
    seen = averages(WeightAverage(0.7, 0.0))
    expected = seen.steps[0]
    for number, weights in enumerate(seen.steps):
        expected = weights if number == 0 else 0.7 * expected + 0.3 * weights
        torch.testing.assert_close(seen.validated[number], expected)
    torch.testing.assert_close(seen.validated[-1], expected)


def test_the_mean_of_the_last_part() -> None:
    seen = averages(WeightAverage(None, 0.5))
    torch.testing.assert_close(seen.validated[0], seen.steps[0])
    torch.testing.assert_close(seen.validated[-1], torch.stack(seen.steps[1:]).mean(0))


def test_a_run_is_tested_with_its_average_and_resumes_bit_for_bit(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("model=plain", "training.ema=0.5", "trainer.max_epochs=3")
    whole, result = train(*words, folder="whole")
    best = torch.load(whole / "checkpoints" / "best.ckpt", weights_only=True)
    assert "current_model_state" in best
    assert any(
        not torch.equal(best["state_dict"][name], best["current_model_state"][name]) for name in best["state_dict"]
    )

    class Killed(BaseException):
        pass

    def kill(self: WeightAverage, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(WeightAverage, "on_train_epoch_start", kill, raising=False)
        with pytest.raises(Killed):
            train(*words, folder="killed")
    resumed, again = train(*words, folder="killed")
    assert again["metrics"] == result["metrics"]
    last = [torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (whole, resumed)]
    for part in ("state_dict", "current_model_state"):
        for name, value in last[0][part].items():
            assert torch.equal(value, last[1][part][name])


@pytest.mark.parametrize("options", [{"ema": 1.0}, {"ema": -0.1}, {"ema": math.nan}, {"average_from": 1.0}])
def test_values_out_of_range_are_named(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"training\.{next(iter(options))}="):
        make_weight_average(TrainingConfig(**options))


def test_two_ways_to_average_exclude_each_other() -> None:
    with pytest.raises(UserError, match="two ways to average weights"):
        make_weight_average(TrainingConfig(ema=0.9, average_from=0.5))
    assert make_weight_average(TrainingConfig()) is None
