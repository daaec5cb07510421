"""The last steps of a training with simulated eight bits, so that an int8 file loses less."""

from typing import Any, cast

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.nn.modules.batchnorm import _BatchNorm

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.fake_quantisation import FakeQuantisation
from fpcn_lightning.modules.classifier import Classifier


class QuantisedEnd(lightning.Callback):
    """Trains the last steps with rounded weights and feature maps (`fpcn_lightning.models.fake_quantisation`).

    Meanwhile batch normalisation uses its running statistics, as the exported network does, and does not change them
    (Krishnamoorthi 2018, section 3.2.2). Validation, checkpoints and the exported float file are those of the ordinary
    network. The best epoch is chosen among those that end within these steps: an earlier one would lack them.

    Args:
        steps: of the optimiser, at least 1.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self._first = steps, 0
        self._simulated: FakeQuantisation | None = None

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Find the step at which they begin.

        Raises:
            UserError: the training is shorter, may end earlier, or its network cannot be quantised.
        """
        total = int(trainer.estimated_stepping_batches)
        if self.steps > total:
            raise UserError(f"training.quantised_steps={self.steps} is more than the {total} steps of the training.")
        if any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            raise UserError(
                "training.quantised_steps are the last of a training whose length is known: set "
                "callbacks.early_stopping=null, or training.quantised_steps=0."
            )
        self._first = total - self.steps
        self._simulated = FakeQuantisation(cast(Classifier, pl_module).network)

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ARG002 - Lightning's signature
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Round in this step, if it is one of the last."""
        if self._simulated is None or trainer.global_step < self._first:
            return
        if trainer.global_step == self._first:
            _forget_best(trainer)
        for module in cast(Classifier, pl_module).network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        self._simulated.active = True

    def on_train_batch_end(self, *_: Any) -> None:
        """Do not round in a validation."""
        if self._simulated is not None:
            self._simulated.active = False

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Leave the network as it was."""
        if self._simulated is not None:
            self._simulated.remove()


def make_quantised_end(training: TrainingConfig) -> QuantisedEnd | None:
    """The callback that the section `training` asks for; None where it is off.

    Raises:
        UserError: the number of steps is negative.
    """
    if training.quantised_steps < 0:
        raise UserError(f"training.quantised_steps={training.quantised_steps} must not be negative.")
    return QuantisedEnd(training.quantised_steps) if training.quantised_steps else None


def _forget_best(trainer: lightning.Trainer) -> None:
    """Choose the best epoch among those that follow."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            callback.best_k_models = {}
            callback.best_model_score = None
            callback.best_model_path = callback.kth_best_model_path = ""
