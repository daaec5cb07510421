"""A folder that is there as a whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse what must not be replaced.

    Raises:
        UserError: a bundle lies there and may not be overwritten, or something that is no bundle does.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise UserError(f"{folder} exists and is no bundle: give another folder, export.bundle=FOLDER.")
    if not overwrite:
        raise UserError(f"{folder} holds a bundle: replace it with overwrite=true, or give export.bundle=FOLDER.")


@contextlib.contextmanager
def in_one_step(folder: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `folder` when the block is over; nothing is left if it fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers apart.
    filling, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{part}") for part in ("new", "old"))
    filling.mkdir()
    try:
        yield filling
        if folder.exists():
            folder.rename(old)
        filling.rename(folder)
    finally:
        shutil.rmtree(filling, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
