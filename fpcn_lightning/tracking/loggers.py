"""Loggers that need more than their own arguments."""

import contextlib
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.recording import WANDB_RUN, is_first_process
from fpcn_lightning.tracking.wandb_run import wandb_mode, wandb_run_id


def csv_logger(save_dir: str) -> CSVLogger:
    """The log `metrics.csv`, which goes on where an interrupted run left it; Lightning would delete it."""
    path = Path(save_dir) / "metrics.csv"
    rows = []
    if is_first_process() and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
        path.unlink()
    logger = CSVLogger(save_dir=save_dir, name="", version="", flush_logs_every_n_steps=1)
    if rows:
        logger.experiment.metrics = rows
        logger.experiment.save()
    return logger


class RunLogger(WandbLogger):
    """One W&B run for each run folder, offline without a key; an interrupted run goes on in it.

    Args:
        save_dir: the run folder, where W&B keeps its files, too.
        pictures: how many validation pictures are logged with their answers; 0: no picture leaves the machine.
        options: of `lightning.pytorch.loggers.WandbLogger`.

    Raises:
        UserError: wandb is not installed, its key cannot be one, or `pictures` is no number of pictures.
    """

    def __init__(self, save_dir: str, pictures: int, **options: Any) -> None:
        if not isinstance(pictures, int) or pictures < 0:
            raise UserError(f"logger.wandb.pictures={pictures} must be a whole number; 0 logs none.")
        # The agent of a W&B sweep makes up the ids itself and hands them down as WANDB_RUN_ID.
        run_id = wandb_run_id(Path(save_dir) / WANDB_RUN, os.environ.get("WANDB_RUN_ID"))
        # Lightning's own `offline` sets a mode that W&B no longer knows.
        chosen = {"mode": wandb_mode(), "id": run_id, **options}
        super().__init__(save_dir=save_dir, **chosen)
        self.pictures = pictures

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The run of W&B itself, opened at the first call.

        Raises:
            UserError: W&B cannot be reached, or does not let this run in.
        """
        import wandb

        try:
            return super().experiment
        except wandb.Error as error:
            raise UserError(
                f"W&B does not open the run ({error}): log in again, set WANDB_MODE=offline, or, if the run was "
                f"deleted there, remove {self.save_dir}/{WANDB_RUN}."
            ) from error


@contextlib.contextmanager
def closed_afterwards() -> Iterator[None]:
    """End the W&B run that the block has opened, however it ends: the next job of a sweep may share this process."""
    failed = 1
    try:
        yield
        failed = 0
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=failed)
