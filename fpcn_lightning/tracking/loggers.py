"""The W&B logger, with resuming."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.recording import WANDB_RUN
from fpcn_lightning.tracking.epochs import from_one
from fpcn_lightning.tracking.wandb_run import wandb_mode, wandb_run_id


class RunLogger(WandbLogger):
    """One W&B run for each run folder, offline without an API key; a resumed run continues it.

    Args:
        save_dir: the run folder, to which W&B writes its files, too.
        pictures: number of validation images that are logged with their predictions; 0: no image leaves the machine.
        options: of `lightning.pytorch.loggers.WandbLogger`.

    Raises:
        UserError: wandb is not installed, its API key is invalid, or `pictures` is not a whole number of at least 0.
    """

    def __init__(self, save_dir: str, pictures: int, **options: Any) -> None:
        if not isinstance(pictures, int) or pictures < 0:
            raise UserError(f"logger.wandb.pictures={pictures} must be a whole number of at least 0; 0 logs none.")
        # The agent of a W&B sweep chooses the ids itself and passes them in WANDB_RUN_ID.
        run_id = wandb_run_id(Path(save_dir) / WANDB_RUN, os.environ.get("WANDB_RUN_ID"))
        # Lightning's own `offline` sets a mode that W&B no longer supports.
        chosen = {"mode": wandb_mode(), "id": run_id, **options}
        super().__init__(save_dir=save_dir, **chosen)
        self.pictures = pictures

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, opened at the first access.

        Raises:
            UserError: W&B cannot be reached, or rejects this run.
        """
        import wandb

        try:
            return super().experiment
        except wandb.Error as error:
            raise UserError(
                f"W&B cannot open the run ({error}): run `wandb login` again, set WANDB_MODE=offline, or, if the run "
                f"was deleted at W&B, remove {self.save_dir}/{WANDB_RUN}."
            ) from error

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers of a step, with their epoch counted from 1."""
        super().log_metrics(from_one(metrics), step)


@contextlib.contextmanager
def closing_loggers() -> Iterator[None]:
    """Finish the W&B run that the block has opened, also after an error: the next job may run in the same process."""
    failed = 1
    try:
        yield
        failed = 0
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            wandb.finish(exit_code=failed)
