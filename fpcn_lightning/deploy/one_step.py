"""A folder that is there as a whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

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
    """A folder to fill, which takes the place of `folder` when the block is over.

    If the block fails, `folder` is as it was; what a killed process has left is taken away by the next one.

    Raises:
        UserError: another process is filling it, or it cannot be made.
    """
    filling, old = (folder.with_name(f".{folder.name}.{part}") for part in ("new", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0) as lock:
            _tidy(folder, filling, old)
            filling.mkdir()
            try:
                yield filling
                _replace(folder, filling, old)
            finally:
                shutil.rmtree(filling, ignore_errors=True)
                shutil.rmtree(old, ignore_errors=True)
                with contextlib.suppress(OSError):  # Windows lets nobody remove a file that is open
                    Path(lock.lock_file).unlink()
    except Timeout:
        raise UserError(f"another process is exporting to {folder}: let it finish.") from None
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"export.bundle={folder} cannot be made ({error.strerror}): give another folder.") from error


def _tidy(folder: Path, filling: Path, old: Path) -> None:
    if old.exists() and not folder.exists():
        old.rename(folder)  # killed between the two steps of `_replace`
    shutil.rmtree(filling, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _replace(folder: Path, filling: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    try:
        filling.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
