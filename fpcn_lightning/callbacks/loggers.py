"""Loggers that need more than their own arguments."""

import os
from typing import TYPE_CHECKING, Any

from fpcn_lightning.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch.loggers import WandbLogger


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
