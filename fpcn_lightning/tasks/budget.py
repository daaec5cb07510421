"""Plans the length of a training from its budget, in steps, epochs or minutes of this machine."""

import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from fpcn_lightning.config import Config
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.profiling.step_time import seconds_per_image, seconds_per_step
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.recording import TRAINING_PLAN
from fpcn_lightning.tasks.budget_text import Budget

logger = logging.getLogger(__name__)

EVALUATION_BATCH = 8  # images, for the time of a validation


@dataclass(frozen=True)
class TrainingPlan:
    """Length of a training: `epochs` of `steps` each."""

    epochs: int
    steps: int


@dataclass(frozen=True)
class MeasuredTimes:
    """What was measured on this machine, in seconds.

    Attributes:
        step: of the training.
        view: of one view in validation.
        validation: of all views of the validation images.
    """

    step: float
    view: float
    validation: float


def plan_training(config: Config, module: Classifier, data: RockDataModule, folder: Path) -> TrainingPlan:
    """The length of a training, and an entry `training_plan.json` of the run folder where a time decides it.

    Without a budget it is that of `trainer.max_epochs` and `data.epoch_length`. A budget in epochs replaces the former,
    one in steps or minutes the latter. At least `training.min_steps` are planned: few images of many classes make an
    epoch of a few steps.

    Raises:
        UserError: the budget is none.
    """
    budget = _budget(config)
    if budget is None or budget.seconds is None:
        return _counted_plan(config, data, budget)
    earlier = _read(folder / TRAINING_PLAN)
    if earlier is not None:
        return earlier
    times = measure_times(config, module, data)
    plan = _timed_plan(config, budget.seconds, times)
    logger.info(
        "training.budget=%s: %d epochs of %d steps, about %.0f minutes (%.2f s a step, %.0f s a validation)",
        config.training.budget,
        plan.epochs,
        plan.steps,
        expected_seconds(plan, times) / 60,
        times.step,
        times.validation,
    )
    write_text_atomically(folder / TRAINING_PLAN, json.dumps(asdict(plan)) + "\n")
    return plan


def measure_times(config: Config, module: Classifier, data: RockDataModule) -> MeasuredTimes:
    """Measure a few steps of the training and of its validation on this machine; the module is not changed."""
    step = seconds_per_step(module.network, module.terms, next(iter(data.train_dataloader())), device_of(config))
    view = seconds_of_view(config, module.network, data)
    return MeasuredTimes(step, view, view * len(data.split.val) * data.pictures.rows_a_picture)


def seconds_of_view(config: Config, network: Network, data: RockDataModule) -> float:
    """Measure the seconds of one view in validation; the network is not changed."""
    return seconds_per_image(network, data.augmentation.evaluation_size, EVALUATION_BATCH, device_of(config))


def device_of(config: Config) -> torch.device:
    """The device of a training, as far as the config alone says it."""
    return torch.device("cuda" if config.trainer["accelerator"] != "cpu" and torch.cuda.is_available() else "cpu")


def planned(config: Config, data: RockDataModule, times: MeasuredTimes) -> TrainingPlan:
    """The length that a training of measured times will have, which nothing is written about.

    Raises:
        UserError: the budget is none.
    """
    budget = _budget(config)
    if budget is None or budget.seconds is None:
        return _counted_plan(config, data, budget)
    return _timed_plan(config, budget.seconds, times)


def expected_seconds(plan: TrainingPlan, times: MeasuredTimes) -> float:
    """How long a training takes, validations included."""
    return plan.epochs * (plan.steps * times.step + times.validation)


def _budget(config: Config) -> Budget | None:
    return None if config.training.budget is None else Budget.parsed(config.training.budget)


def _counted_plan(config: Config, data: RockDataModule, budget: Budget | None) -> TrainingPlan:
    """The length by epochs and steps."""
    epochs, steps = int(config.trainer["max_epochs"]), len(data.train_dataloader())
    if budget is not None and budget.unit == "epochs":
        epochs = max(1, round(budget.amount))
    if budget is not None and budget.unit == "steps":
        steps = math.ceil(budget.amount / epochs)
    return TrainingPlan(epochs, max(steps, math.ceil(config.training.min_steps / epochs)))


def _timed_plan(config: Config, seconds: float, times: MeasuredTimes) -> TrainingPlan:
    """The length that fits a time."""
    epochs = int(config.trainer["max_epochs"])
    least = math.ceil(config.training.min_steps / epochs)
    return TrainingPlan(epochs, max(1, least, int((seconds / epochs - times.validation) / times.step)))


def _read(path: Path) -> TrainingPlan | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        plan = TrainingPlan(**content)
        if min(plan.epochs, plan.steps) < 1:
            raise ValueError("a plan without steps")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): pass overwrite=true to start this run again.") from error
    return plan
