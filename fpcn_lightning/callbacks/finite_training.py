"""Training that diverges is stopped at once, and what is saved is always finite."""

from dataclasses import dataclass
from typing import Any, cast

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.classifier import Classifier

_MOST_NAMED = 5  # images of a batch
_ADVICE = "lower the learning rate, optimizer.lr, or set trainer.gradient_clip_val"


@dataclass(frozen=True)
class _Step:
    """The loss of a step, on the host once `copied` has happened, and where it was computed."""

    loss: Tensor
    copied: torch.cuda.Event | None
    epoch: int
    step: int
    images: Batch | None

    def is_finite(self) -> bool:
        if self.copied is not None:
            self.copied.synchronize()
        return bool(self.loss.isfinite().all())


class FiniteTraining(lightning.Callback):
    """Stops training at a loss, weights or predictions that are NaN or infinite.

    On a CPU the loss is checked before its gradient changes the weights. On a GPU it is checked when the next step
    begins: reading it at once would make the host wait for the forward pass, and the GPU for the host. The weights have
    changed by then, but nothing is saved: the loss is checked before every checkpoint and validation, too. The message
    names the step and the images that the loss is of. Weights and predictions are checked before the checkpoints of an
    epoch are written: Lightning calls those callbacks last.
    """

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._unchecked: _Step | None = None

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's signature
        """Check the loss of the step before, and remember the images of this one."""
        self._check(trainer)
        self._batch = batch

    def on_before_backward(self, trainer: lightning.Trainer, pl_module: Any, loss: Tensor) -> None:  # noqa: ARG002 - Lightning's signature
        """Check the loss, or on a GPU have it copied, to check it later.

        Raises:
            UserError: it is NaN or infinite; names epoch, step and images.
        """
        host, copied = _copied(loss) if self._checks_later(loss) else (loss.detach(), None)
        self._unchecked = _Step(host, copied, trainer.current_epoch, trainer.global_step, self._batch)
        if not self._checks_later(loss):
            self._check(trainer)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:  # noqa: ARG002 - Lightning's signature
        """Check the loss of the last step before a validation; see `on_before_backward`."""
        self._check(trainer)

    def on_save_checkpoint(self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002 - Lightning's signature
        """Check the loss of the last step before anything is saved; see `on_before_backward`."""
        self._check(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Check the last loss, weights and validation predictions.

        Raises:
            UserError: some are NaN or infinite; names the epoch.
        """
        self._check(trainer)
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
            f"{_ADVICE}.{_kept(trainer.current_epoch)}"
        )

    @staticmethod
    def _checks_later(loss: Tensor) -> bool:
        return loss.device.type == "cuda"

    def _check(self, trainer: lightning.Trainer) -> None:
        step, self._unchecked = self._unchecked, None
        if step is None or step.is_finite():
            return
        raise UserError(
            f"training diverged: the loss is {step.loss.item()} in epoch {step.epoch + 1}, step {step.step}, on the "
            f"images {_names(trainer, step.images)}; {_ADVICE}.{_kept(step.epoch)}"
        )


def _copied(loss: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """The loss on the host, once the event has happened."""
    host = torch.empty(loss.shape, dtype=loss.dtype, pin_memory=True)
    host.copy_(loss.detach(), non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # of torch
    event.record()
    return host, event


def _names(trainer: lightning.Trainer, batch: Batch | None) -> str:
    assert batch is not None
    pictures = cast(RockDataModule, trainer.datamodule).index.pictures  # type: ignore[attr-defined]
    names = [pictures[position].name for position in batch.positions.tolist() if position != PADDING]
    further = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + further


def _all_finite(network: nn.Module) -> bool:
    return all(bool(each.isfinite().all()) for each in network.state_dict().values() if each.is_floating_point())


def _kept(epoch: int) -> str:
    return " The checkpoints of the epochs before are kept." if epoch else ""
