"""Training that diverges is stopped at once, and what is saved is always finite."""

from typing import Any, cast

import lightning.pytorch as lightning
from torch import Tensor, nn

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.classifier import Classifier

_MOST_NAMED = 5  # images of a batch
_ADVICE = "lower the learning rate, optimizer.lr, or set trainer.gradient_clip_val"


class FiniteTraining(lightning.Callback):
    """Stops training at a loss, weights or predictions that are NaN or infinite.

    The loss is checked before its gradient changes the weights, and weights and predictions before the checkpoints of
    an epoch are written: Lightning calls those callbacks last.
    """

    def __init__(self) -> None:
        self._batch: Batch | None = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Remember the images of the step."""
        self._batch = batch

    def on_before_backward(self, trainer: lightning.Trainer, pl_module: Any, loss: Tensor) -> None:  # noqa: ARG002 - Lightning's signature
        """Check the loss.

        Raises:
            UserError: it is NaN or infinite; names epoch, step and images.
        """
        if not loss.isfinite().all():
            raise UserError(
                f"training diverged: the loss is {loss.item()} in epoch {trainer.current_epoch + 1}, step "
                f"{trainer.global_step}, on the images {self._images(trainer)}; {_ADVICE}.{_kept(trainer)}"
            )

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check weights and validation predictions.

        Raises:
            UserError: some are NaN or infinite; names the epoch.
        """
        module = cast(Classifier, pl_module)
        predicted = module.predictions.get("val")
        if not _all_finite(module.network):
            what = "the weights"
        elif predicted is not None and not predicted.probabilities.isfinite().all():
            what = "the predictions of the validation images"
        else:
            return
        raise UserError(
            f"training diverged: {what} are NaN or infinite after epoch {trainer.current_epoch + 1}; "
            f"{_ADVICE}.{_kept(trainer)}"
        )

    def _images(self, trainer: lightning.Trainer) -> str:
        assert self._batch is not None
        data = cast(RockDataModule, trainer.datamodule)  # type: ignore[attr-defined]
        pictures = [*data.index.pictures, *(data.unlabelled.images if data.unlabelled else ())]
        names = [pictures[position].name for position in self._batch.positions.tolist() if position != PADDING]
        further = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return ", ".join(names[:_MOST_NAMED]) + further


def _all_finite(network: nn.Module) -> bool:
    return all(bool(each.isfinite().all()) for each in network.state_dict().values() if each.is_floating_point())


def _kept(trainer: lightning.Trainer) -> str:
    return " The checkpoints of the epochs before are kept." if trainer.current_epoch else ""
