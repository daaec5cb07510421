"""Checkpoints between two steps of an epoch, from which a killed training goes on as if nothing had happened.

Lightning saves counters, weights, optimiser, schedule and callbacks. What it does not save, or saves for another
place than between two steps, is here: the running means of the metrics of the epoch, whether its validation has taken
place, the step with which the loader begins, and how far the log was written.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import lightning.pytorch as lightning
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import LRSchedulerConfig

from fpcn_lightning.callbacks.agreement import any_process, asks_now
from fpcn_lightning.callbacks.weight_average import WeightAverage
from fpcn_lightning.data.loading import at_step
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.stopping import StopRequest
from fpcn_lightning.tracking.csv_log import CSVLog

STATE = "within_epoch"  # entry of the checkpoint
_DESCRIPTION = ("fx", "name", "prog_bar", "logger", "on_step", "on_epoch", "add_dataloader_idx")  # of a logged metric


class _Position(NamedTuple):
    """A place between two steps: batches of the epoch before it, and whether the validation after them has been."""

    batches: int
    validated: bool


class StepCheckpoint(lightning.Callback):
    """Saves the state between two steps from time to time, and before a signal stops the training.

    The file is that of the last epoch: there is one checkpoint to resume from. Nothing is saved while gradients are
    accumulated, which no checkpoint holds. Several processes stop at the same step; on GPUs that is up to eight steps
    after a signal (`fpcn_lightning.callbacks.agreement`).

    Args:
        path: of the checkpoint.
        steps: of the optimiser between two checkpoints; None: they do not count.
        seconds: between two checkpoints; None: they do not count.
        request: whether a signal has asked to stop.
        on_save: called before every checkpoint of the training, those of other callbacks included.
    """

    def __init__(
        self,
        path: Path,
        *,
        steps: int | None = None,
        seconds: float | None = None,
        request: StopRequest | None = None,
        on_save: Callable[[], object] | None = None,
    ) -> None:
        self.path, self.steps, self.seconds = path, steps, seconds
        self._request, self._on_save = request or StopRequest(), on_save
        self._saved_at, self._saved_when = 0, 0.0  # step of the optimiser, and time
        self._position: _Position | None = None  # while it is saved
        self._epoch_ends = False
        self._loaded: dict[str, Any] | None = None
        self._resumed = False

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Continue the log where it was when the checkpoint was saved."""
        if self._loaded is not None and self._loaded["rows"] is not None:
            for log in _logs(trainer):
                log.resume(self._loaded["rows"], self._loaded["row"])

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Restore what Lightning does not, and listen to signals."""
        self._saved_at, self._saved_when = trainer.global_step, time.monotonic()
        loaded, self._loaded = self._loaded, None
        if loaded is not None and loaded["within"]:
            self._resumed = True
            _resume_within(trainer, cast(Classifier, pl_module), loaded)
        elif loaded is not None:
            _step_schedules(trainer, loaded["monitored"])
        self._request.listen()

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """The epoch before is over."""
        self._epoch_ends = False

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Save the state after the step before, if it is time."""
        self._begin(trainer)
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._visit(trainer, _Position(batch_idx, validated=True))

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Save the state before a validation, if it is time."""
        if _is_training(trainer):
            self._begin(trainer)
            if not trainer.fit_loop._should_accumulate():
                self._visit(trainer, _before_validation(trainer))

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,  # noqa: ARG002 - Lightning's signature
        batch_idx: int,
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        """Stop within a validation; it takes place again."""
        asked = self._request.number is not None
        if _is_training(trainer) and asks_now(trainer, batch_idx) and any_process(trainer, asked):
            if not trainer.fit_loop._should_accumulate():
                for callback in trainer.callbacks:  # type: ignore[attr-defined]
                    if isinstance(callback, WeightAverage):
                        callback.on_validation_epoch_end(trainer, pl_module)
                self._save(trainer, _before_validation(trainer))
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """The checkpoints that follow are those of an epoch."""
        self._epoch_ends = True

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Checkpoints that follow are not to be resumed."""
        self._epoch_ends = False

    def on_save_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        checkpoint: dict[str, Any],
    ) -> None:
        """Add what Lightning does not save."""
        if self._position is None and not self._epoch_ends:
            return
        if self._on_save is not None:
            self._on_save()
        checkpoint[STATE] = {
            "within": self._position is not None,
            "processes": trainer.world_size,
            "loader": at_step(trainer.current_epoch, 0 if self._position is None else self._position.batches),
            "metrics": _metrics(trainer),
            "rows": next((log.rows for log in _logs(trainer)), None),
            "row": None if self._position is not None else _row_of_epoch(trainer),
            "monitored": [_monitored(trainer, each) for each in trainer.lr_scheduler_configs],
        }
        if self._position is not None:
            _place(checkpoint["loops"]["fit_loop"], self._position)

    def on_load_checkpoint(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,  # noqa: ARG002 - Lightning's signature
        checkpoint: dict[str, Any],
    ) -> None:
        """Keep what is restored when the training starts."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._loaded = checkpoint.get(STATE)

    def _begin(self, trainer: lightning.Trainer) -> None:
        """The resumed epoch is one like all others: Lightning would not step a schedule that depends on a metric."""
        if self._resumed:
            self._resumed = trainer.fit_loop._restarting = False

    def _visit(self, trainer: lightning.Trainer, position: _Position) -> None:
        """Save and stop between two steps if it is time; all processes do the same."""
        asked, step = self._request.number is not None, trainer.global_step
        due = self.steps is not None and step % self.steps == 0
        if not due and not asks_now(trainer, position.batches):
            return
        due |= self.seconds is not None and time.monotonic() - self._saved_when >= self.seconds
        if not any_process(trainer, asked or due):
            return
        # The checkpoint of an epoch is that before the first batch of the next one.
        if position.batches and step != self._saved_at:
            self._save(trainer, position)
        if any_process(trainer, asked):
            self._leave(trainer)

    def _save(self, trainer: lightning.Trainer, position: _Position) -> None:
        self._position = position
        try:
            trainer.save_checkpoint(self.path)
        finally:
            self._position = None
        self._saved_at, self._saved_when = trainer.global_step, time.monotonic()

    def _leave(self, trainer: lightning.Trainer) -> NoReturn:
        step = trainer.global_step
        self._request.leave(f" after step {step}" if step and self.path.exists() else "")


def _resume_within(trainer: lightning.Trainer, module: Classifier, loaded: Mapping[str, Any]) -> None:
    """Go on in the middle of an epoch.

    Raises:
        UserError: the images of each step were divided among another number of processes.
    """
    if loaded["processes"] != trainer.world_size:
        raise UserError(
            f"this run was interrupted in the middle of an epoch with {loaded['processes']} processes, not "
            f"{trainer.world_size}: resume it with as many, or start again with overwrite=true."
        )
    module.prepare_epoch()
    _restore_metrics(trainer, loaded["metrics"])
    # Lightning does so only where nothing has asked for the length of the training before.
    cast(Any, trainer.train_dataloader).load_state_dict(loaded["loader"])


def _is_training(trainer: lightning.Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking


def _before_validation(trainer: lightning.Trainer) -> _Position:
    return _Position(trainer.fit_loop.epoch_loop.batch_progress.current.completed, validated=False)


def _logs(trainer: lightning.Trainer) -> list[CSVLog]:
    """The logs that this process writes."""
    return [log for log in trainer.loggers if isinstance(log, CSVLog) and trainer.is_global_zero]


def _place(loop: dict[str, Any], position: _Position) -> None:
    """Make the counters of Lightning's loops, which are in the middle of something, those of a place between steps."""
    batches, state = loop["epoch_loop.batch_progress"], loop["epoch_loop.state_dict"]
    for part, done in (("current", position.batches), ("total", batches["total"]["completed"])):
        batches[part] = dict.fromkeys(batches[part], done)
        if position.validated:  # Lightning completes the last batch itself, and does not validate after it again
            batches[part]["completed"] -= 1
    if position.validated:
        batches["is_last_batch"] = False
        state["_batches_that_stepped"] -= 1  # likewise
    validation = loop["epoch_loop.val_loop.batch_progress"]
    for part in ("current", "total"):
        validation[part] = dict.fromkeys(validation[part], 0)
    if not position.validated:  # it is in its first batch: Lightning validates before it trains
        validation["total"] |= {"ready": 1, "started": 1}


def _monitored(trainer: lightning.Trainer, schedule: LRSchedulerConfig) -> float | None:
    """The metric with which Lightning is going to step a schedule, after the checkpoint of the epoch is saved."""
    if not schedule.reduce_on_plateau or schedule.interval != "epoch":
        return None
    found = trainer.callback_metrics.get(str(schedule.monitor))
    return None if found is None else float(found)


def _step_schedules(trainer: lightning.Trainer, monitored: list[float | None]) -> None:
    """Step the schedules that depend on a metric as at the end of the epoch that was saved."""
    for schedule, value in zip(trainer.lr_scheduler_configs, monitored, strict=True):
        if value is not None and trainer.current_epoch % schedule.frequency == 0:
            trainer.lightning_module.lr_scheduler_step(schedule.scheduler, value)


def _metrics(trainer: lightning.Trainer) -> list[dict[str, Any]]:
    """What was logged in the training steps of this epoch, as plain data."""
    return [
        {
            "described": {key: getattr(metric.meta, key) for key in _DESCRIPTION},
            "state": {name: value.detach().cpu() for name, value in metric.metric_state.items()},
        }
        for metric in trainer.fit_loop.epoch_loop._results.values()
        if not metric.has_reset
    ]


def _restore_metrics(trainer: lightning.Trainer, metrics: list[dict[str, Any]]) -> None:
    results, device = trainer.fit_loop.epoch_loop._results, trainer.strategy.root_device
    for metric in metrics:
        results.log(
            value=torch.zeros((), device=device),
            batch_size=1,
            sync_dist_fn=trainer.strategy.reduce,
            **metric["described"],
        )
    for logged, metric in zip(results.values(), metrics, strict=True):
        for name, value in metric["state"].items():
            setattr(logged, name, value.to(device))
    trainer._logger_connector._first_loop_iter = False  # the first batch of an epoch resets them


def _row_of_epoch(trainer: lightning.Trainer) -> dict[str, Any]:
    """The line that Lightning logs when all callbacks have seen the end of an epoch, and its step."""
    loop = trainer.fit_loop.epoch_loop
    values = {name: value.item() for name, value in loop._results.metrics(on_step=False)["log"].items()}
    return {"metrics": {**values, "epoch": trainer.current_epoch}, "step": loop._batches_that_stepped - 1}
