"""The average of the weights over the steps of a training, validated and saved in place of the last weights."""

from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_avg_fn

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError


class WeightAverage(WeightAveraging):
    """A moving average with decay, or the plain mean over the last part of the training.

    Lightning's callback exchanges the two sets of weights whenever it validates or loads a checkpoint, also after the
    training, when the module has the average already: here it does so during the training only.

    Args:
        decay: of the moving average; None takes the plain mean.
        start: share of the training after which steps are averaged, 0..1.
    """

    def __init__(self, decay: float | None, start: float) -> None:
        super().__init__(**({} if decay is None else {"avg_fn": get_ema_avg_fn(decay)}))  # type: ignore[no-untyped-call]
        self.start, self._first = start, 0
        self._validating = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        """Convert the share to a number of steps."""
        self._first = int(self.start * int(trainer.estimated_stepping_batches))

    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        """Update the average; before the first step that counts, copy the weights."""
        if self._average_model is not None and trainer.global_step <= self._first:
            self._average_model.n_averaged.zero_()
        super().on_train_batch_end(trainer, *arguments)

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Validate the average; after the training, the module has the weights to be validated."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_validation_epoch_start(trainer, pl_module)
            self._validating = True

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Return to the weights of the last step; the end of a validation that was left does nothing."""
        if self._validating:
            self._validating = False
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Give the average to the module, and forget it."""
        super().on_train_end(trainer, pl_module)
        self._average_model = None

    def on_load_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Resume both sets of weights; a finished training is evaluated with the average, the checkpoint's weights."""
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


def make_weight_average(training: TrainingConfig) -> WeightAverage | None:
    """The callback that the section `training` describes, if any.

    Raises:
        UserError: a number is out of range, or two keys exclude each other.
    """
    if training.ema is None and training.average_from is None:
        return None
    if training.ema is not None and training.average_from is not None:
        raise UserError("training.ema and training.average_from are two ways to average weights: set one to null.")
    for key in ("ema", "average_from"):
        value = getattr(training, key)
        if value is not None and not 0 <= value < 1:
            raise UserError(f"training.{key}={value} must be at least 0 and below 1.")
    if training.unfreeze_from_best:
        raise UserError("training.unfreeze_from_best restarts from the best epoch: set training.ema=null.")
    return WeightAverage(training.ema, training.average_from or 0.0)
