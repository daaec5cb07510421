"""What is settled before a W&B run is opened: whether it goes online, which run it is, and what trouble with it costs.

Knows neither torch nor Lightning, so that a report can be logged without them.
"""

import contextlib
import logging
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.recording import is_first_process

logger = logging.getLogger(__name__)


def wandb_mode() -> str:
    """What WANDB_MODE says; without it online where there is a key, and offline where there is none.

    Raises:
        UserError: wandb is not installed, or the key cannot be one.
    """
    try:
        import wandb
    except ImportError as error:
        raise UserError("logger=wandb needs the package wandb: pip install 'fpcn-lightning[wandb]'.") from error
    named = os.environ.get("WANDB_MODE")
    if named:
        return named
    try:
        return "online" if wandb.login(prompt=False, verify=False) else "offline"
    except wandb.Error as error:
        raise UserError(f"W&B does not take the key ({error}): mend it, or set WANDB_MODE=offline.") from error


def wandb_run_id(path: Path, given: str | None = None) -> str | None:
    """The id of a W&B run that the file `path` remembers: at first `given`, or one made up.

    None in a process that is not the one that writes; only that one opens a run.
    """
    if not is_first_process():
        return None
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{given or secrets.token_hex(4)}\n", encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


@contextlib.contextmanager
def trouble_tolerated(what: str) -> Iterator[None]:
    """Turn what W&B, the network or the disk find wrong in the block into a warning that W&B lacks `what`."""
    try:
        yield
    except Exception as error:
        wandb = sys.modules.get("wandb")
        if not isinstance(error, OSError | UserError) and not (wandb and isinstance(error, wandb.Error)):
            raise
        logger.warning("W&B lacks %s: %s", what, error)
