import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import classifier_of, config_of
from tests.modules.test_classifier import batch, classifier, loader, trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:Checkpoint directory .* exists and is not empty",  # a run is resumed
    "ignore:.*self.log.*",
    "ignore:.*num_workers",
    "ignore:.*log_every_n_steps",
)


class Seen(lightning.Callback):
    """Learning rates, weight decays, and the state of the optimiser, at the first step of every epoch."""

    def __init__(self) -> None:
        self.rates: list[tuple[float, ...]] = []
        self.decays: list[tuple[float, ...]] = []
        self.remembered: list[int] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        groups = trainer.optimizers[0].param_groups
        self.rates.append(tuple(group["lr"] for group in groups))
        self.decays.append(tuple(group["weight_decay"] for group in groups))
        self.remembered.append(len(trainer.optimizers[0].state))


def with_accuracies(module: Classifier, accuracies: Sequence[float]) -> Classifier:
    """The module with given validation accuracies, epoch by epoch, instead of measured ones."""

    def measure(split: str) -> None:
        module.log(f"{split}/accuracy", accuracies[module.current_epoch])

    module._measure = measure  # type: ignore[method-assign]
    return module


def rates(epochs: int, accuracies: Sequence[float] = (0.5,) * 9, **options: Any) -> Seen:
    seen = Seen()
    module = with_accuracies(classifier("plain", optimizer__lr=0.1, **options), accuracies)
    trainer(seen, max_epochs=epochs).fit(module, loader(batch()), loader(batch(seed=1)))
    return seen


def test_step_schedule_lowers_the_learning_rate() -> None:
    seen = rates(5, lr_scheduler="step", lr_scheduler__scheduler__step_size=2, lr_scheduler__scheduler__gamma=0.9)
    assert [trunk for trunk, _ in seen.rates] == pytest.approx([0.1, 0.1, 0.09, 0.09, 0.081])


def test_multistep_schedule_lowers_the_learning_rate_at_milestones() -> None:
    seen = rates(
        5, lr_scheduler="multistep", lr_scheduler__scheduler__milestones=[1, 4], lr_scheduler__scheduler__gamma=0.1
    )
    assert [trunk for trunk, _ in seen.rates] == pytest.approx([0.1, 0.01, 0.01, 0.01, 0.001])


def test_plateau_schedule_lowers_the_learning_rate() -> None:
    # Two improvements, then three epochs without one: the third exceeds the patience of 2.
    plateau = {"lr_scheduler": "plateau", "lr_scheduler__scheduler__patience": 2}
    seen = rates(7, [0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], **plateau)
    assert [trunk for trunk, _ in seen.rates] == pytest.approx([0.1] * 5 + [0.01] * 2)


def test_two_steps_have_their_own_rates_and_the_second_resets_the_plateau() -> None:
    options = {
        "training__freeze_epochs": 3,
        "training__frozen_lr": 1.0,
        "training__frozen_weight_decay": 0.25,
        "lr_scheduler": "plateau",
    }
    seen = rates(
        5, [0.9, 0.5, 0.5, 0.5, 0.5], lr_scheduler__scheduler__patience=1, optimizer__weight_decay=0.5, **options
    )
    # Two epochs without improvement lower the rate of the head in the first step; the second step resets it.
    assert [head for _, head in seen.rates] == pytest.approx([1.0, 1.0, 1.0, 0.1, 0.1])
    assert [head for _, head in seen.decays] == [0.25, 0.25, 0.25, 0.5, 0.5]
    assert [trunk for trunk, _ in seen.rates[3:]] == pytest.approx([0.1, 0.1])


class Heads(lightning.Callback):
    """The head's weights at the first step of every epoch."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        self.weights.append(pl_module.network.head.weight.detach().clone())


class TwoSteps:
    """Three epochs with a frozen trunk, of which the second is the best, then all of the network."""

    def __init__(self, folder: Path, epochs: int, resume: Path | None = None) -> None:
        best = ModelCheckpoint(folder, "best", monitor="val/accuracy", mode="max", enable_version_counter=False)
        last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.module = classifier(
            "plain",
            lr_scheduler="constant",
            training__freeze_epochs=3,
            training__frozen_lr=0.5,
            training__unfreeze_from_best=True,
        )
        with_accuracies(self.module, [0.2, 0.8, 0.4, 0.5, 0.3])
        self.seen, self.heads = Seen(), Heads()
        run = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[self.seen, self.heads, best, last],
        )
        path = str(resume) if resume else None
        run.fit(self.module, loader(batch()), loader(batch(seed=1)), ckpt_path=path, weights_only=True)


def test_the_second_step_starts_from_the_best_epoch_of_the_first(tmp_path: Path) -> None:
    run = TwoSteps(tmp_path, 4)
    begin_of_third, begin_of_fourth = run.heads.weights[2:]
    # The third epoch starts from the weights at the end of the second, the best one.
    assert torch.equal(begin_of_fourth, begin_of_third)
    assert run.seen.remembered[2] > 0
    assert run.seen.remembered[3] == 0


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:")  # it is resumed there
def test_a_run_interrupted_between_the_steps_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole = TwoSteps(tmp_path / "whole", 5).module.state_dict()
    TwoSteps(tmp_path / "cut", 3)
    resumed = TwoSteps(tmp_path / "cut", 5, tmp_path / "cut" / "last.ckpt").module.state_dict()
    assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []


def test_unfreeze_from_best_needs_the_callback_that_saves_the_best_epoch() -> None:
    module = classifier("plain", training__freeze_epochs=1, training__unfreeze_from_best=True)
    with pytest.raises(UserError, match=r"callbacks\.best"):
        trainer(max_epochs=2).fit(module, loader(batch()), loader(batch()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lr_scheduler=plateau", "lr_scheduler.scheduler.factor=1.0"], "Factor should be < 1.0"),
        (
            ["lr_scheduler=step", "+lr_scheduler.scheduler.gama=0.1"],
            "gama is not an argument of .*StepLR; did you mean gamma",
        ),
        (["optimizer.momentum=-1"], "optimizer cannot be built: Invalid momentum value: -1"),
        (["optimizer=adamw", "optimizer.lr=-1"], "optimizer cannot be built: Invalid learning rate: -1"),
        (["training.freeze_epochs=-1"], r"training\.freeze_epochs=-1 must not be negative"),
        (["training.frozen_lr=1.0", "training.freeze_epochs=1"], "lr_scheduler=constant or plateau"),
        (["training.frozen_lr=1.0"], r"set training\.freeze_epochs, or frozen_lr=null"),
        (["training.unfreeze_from_best=true"], r"set training\.freeze_epochs, or unfreeze_from_best=false"),
    ],
)
def test_an_invalid_setting_is_an_error(words: list[str], message: str) -> None:
    def configured() -> None:
        module = classifier_of(config_of("model=plain", "backbone=test_resnet", "pretrained=false", *words))
        optimizer = module.optimisation.make_optimizer(module.network)
        module.optimisation.make_scheduler(optimizer, steps=3, epochs=1)

    with pytest.raises(UserError, match=message):
        configured()


def test_any_optimiser_of_torch_works_without_code() -> None:
    words = ("optimizer=other", "optimizer._target_=torch.optim.NAdam", "+optimizer.momentum_decay=0.005")
    module = classifier_of(config_of("model=plain", "backbone=test_resnet", "pretrained=false", *words))
    made = module.optimisation.make_optimizer(module.network)
    assert isinstance(made, torch.optim.NAdam)
    assert {group["momentum_decay"] for group in made.param_groups} == {0.005}
    assert [group["name"] for group in made.param_groups] == ["trunk", "head"]


def test_layer_decay_lowers_the_rates_of_early_layers() -> None:
    settings = config_of(
        "model=plain", "backbone=test_resnet", "pretrained=false", "training.layer_decay=0.5", "optimizer.lr=0.8"
    )
    module = classifier_of(settings)
    made = module.optimisation.make_optimizer(module.network)
    rates = [group["lr"] for group in made.param_groups if group["name"] != "head"]
    assert len(rates) > 2
    assert rates == sorted(rates)
    assert {round(later / earlier, 6) for earlier, later in itertools.pairwise(rates)} == {2.0}
    assert made.param_groups[-1]["lr"] == 0.8
    grouped = [id(parameter) for group in made.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in module.network.parameters())
    first = next(module.network.trunk.parameters())
    assert id(first) in {id(parameter) for parameter in made.param_groups[0]["params"]}


@pytest.mark.parametrize("decay", [0.0, 1.5, -1.0])
def test_a_layer_decay_out_of_range_is_named(decay: float) -> None:
    with pytest.raises(UserError, match=r"training\.layer_decay="):
        classifier_of(
            config_of("model=plain", "backbone=test_resnet", "pretrained=false", f"training.layer_decay={decay}")
        )
