"""Paths of a config that are checked before a task is imported: importing torch takes seconds."""

from pathlib import Path

from fpcn_lightning.config import Config
from fpcn_lightning.data.index import check_root
from fpcn_lightning.errors import check_file

_READ_CHECKPOINT = ("evaluate", "explain", "export")
_READ_IMAGES = ("audit", "evaluate", "export")  # `train` checks them after it has found out whether it is finished


def check_paths(config: Config) -> None:
    """Check that what the task reads first exists.

    Raises:
        UserError: `checkpoint` is not a file, or `data.root` neither a folder nor a list.
    """
    if config.checkpoint is not None and config.task in _READ_CHECKPOINT:
        check_file("checkpoint", Path(config.checkpoint))
    if config.data.root is not None and config.task in _READ_IMAGES:
        check_root(Path(config.data.root))
