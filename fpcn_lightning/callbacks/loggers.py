"""Loggers that need more than their own arguments."""

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpcn_lightning.errors import UserError
from fpcn_lightning.record import is_first_process

if TYPE_CHECKING:
    from lightning.pytorch.loggers import CSVLogger, WandbLogger


def csv_logger(save_dir: str) -> "CSVLogger":
    """The log `metrics.csv` in `save_dir`; it goes on where an interrupted run left it, which Lightning would delete."""
    from lightning.pytorch.loggers import CSVLogger

    path = Path(save_dir) / "metrics.csv"
    rows = []
    if is_first_process() and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
        path.unlink()
    logger = CSVLogger(save_dir=save_dir, name="", version="", flush_logs_every_n_steps=1)
    if rows:
        logger.experiment.metrics = rows
    return logger


def wandb_logger(**options: Any) -> "WandbLogger":
    """A W&B logger that works without a key: offline then, unless WANDB_MODE says otherwise.

    Args:
        options: of `lightning.pytorch.loggers.WandbLogger`.

    Raises:
        UserError: wandb is not installed.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError("logger=wandb needs the package wandb: pip install 'fpcn-lightning[wandb]'.") from error
    from lightning.pytorch.loggers import WandbLogger

    offline = os.environ.get("WANDB_MODE") == "offline" or ("WANDB_MODE" not in os.environ and not wandb.api.api_key)
    # Jobs of one sweep may share a process: without `reinit` they would all land in one run.
    return WandbLogger(offline=offline, reinit="finish_previous", **options)
