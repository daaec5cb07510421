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


def plan_training(config: Config, module: Classifier, data: RockDataModule, folder: Path) -> TrainingPlan:
    """The length of a training, and an entry `training_plan.json` of the run folder where a time decides it.

    Without a budget it is that of `trainer.max_epochs` and `data.epoch_length`. A budget in epochs replaces the former,
    one in steps or minutes the latter. At least `training.min_steps` are planned: few images of many classes make an
    epoch of a few steps.

    Raises:
        UserError: the budget is none.
    """
    epochs, steps = int(config.trainer["max_epochs"]), len(data.train_dataloader())
    budget = None if config.training.budget is None else Budget.parsed(config.training.budget)
    if budget is not None and budget.unit == "epochs":
        epochs = max(1, round(budget.amount))
    if budget is not None and budget.unit == "steps":
        steps = math.ceil(budget.amount / epochs)
    if budget is None or budget.seconds is None:
        return TrainingPlan(epochs, max(steps, math.ceil(config.training.min_steps / epochs)))
    earlier = _read(folder / TRAINING_PLAN)
    if earlier is not None:
        return earlier
    plan = TrainingPlan(epochs, _steps_in(budget.seconds, epochs, config, module, data))
    write_text_atomically(folder / TRAINING_PLAN, json.dumps(asdict(plan)) + "\n")
    return plan


def _steps_in(seconds: float, epochs: int, config: Config, module: Classifier, data: RockDataModule) -> int:
    """Steps of each of the epochs that fit a time on this machine, validations included."""
    device = torch.device("cuda" if config.trainer["accelerator"] != "cpu" and torch.cuda.is_available() else "cpu")
    step = seconds_per_step(module.network, module.terms, next(iter(data.train_dataloader())), device)
    image = seconds_per_image(module.network, data.augmentation.evaluation_size, EVALUATION_BATCH, device)
    validation = image * len(data.split.val) * data.pictures.rows_a_picture
    steps = max(1, math.ceil(config.training.min_steps / epochs), int((seconds / epochs - validation) / step))
    expected = epochs * (steps * step + validation) / 60
    logger.info(
        "training.budget=%s: %d epochs of %d steps, about %.0f minutes (%.2f s a step, %.0f s a validation)",
        config.training.budget,
        epochs,
        steps,
        expected,
        step,
        validation,
    )
    return steps


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
