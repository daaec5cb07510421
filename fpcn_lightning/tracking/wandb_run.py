"""The mode and the id of a W&B run, and errors of W&B as warnings.

Imports neither torch nor Lightning, so that a report can be logged without them.
"""

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.recording import is_first_process

logger = logging.getLogger(__name__)


def wandb_mode() -> str:
    """The value of WANDB_MODE; if it is not set, "online" with an API key and "offline" without one.

    Raises:
        UserError: wandb is not installed, or the API key is invalid.
    """
    MissingPackage.check("logger=wandb", "wandb")
    import wandb

    named = os.environ.get("WANDB_MODE")
    if named:
        return named
    try:
        return "online" if wandb.login(prompt=False, verify=False) else "offline"
    except wandb.Error as error:
        raise UserError(f"W&B rejected the API key ({error}): correct it, or set WANDB_MODE=offline.") from error


def wandb_run_id(path: Path, given: str | None = None) -> str | None:
    """The id of a W&B run, stored in the file `path`: at the first call `given`, or a random one.

    None in the further processes of a distributed run; only the first one opens a W&B run.
    """
    if not is_first_process():
        return None
    if not path.exists():
        write_text_atomically(path, f"{given or secrets.token_hex(4)}\n")
    return path.read_text(encoding="utf-8").strip()


@contextlib.contextmanager
def errors_as_warnings(what: str) -> Iterator[None]:
    """Turn an error of W&B, of the network connection or of the disk into a warning that `what` was not logged."""
    try:
        yield
    except Exception as error:
        wandb = sys.modules.get("wandb")
        if not isinstance(error, OSError | UserError) and not (wandb and isinstance(error, wandb.Error)):
            raise
        logger.warning("%s could not be logged to W&B: %s", what, error)
