"""Loggers that need more than their own arguments."""

import contextlib
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpcn_lightning.errors import UserError
from fpcn_lightning.record import is_first_process

if TYPE_CHECKING:
    from lightning.pytorch.loggers import CSVLogger, WandbLogger


def csv_logger(save_dir: str) -> "CSVLogger":
    """The log `metrics.csv`, which goes on where an interrupted run left it; Lightning would delete it."""
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
        logger.experiment.save()
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

    has_key = wandb.login(prompt=False, verify=False)
    mode = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")
    # Lightning's own `offline` sets a mode that W&B no longer knows.
    return WandbLogger(mode=mode, **options)


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
