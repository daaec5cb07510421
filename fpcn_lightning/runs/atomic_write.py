"""Files and folders that are replaced in one step, so that a reader never finds half of one."""

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` in a single step when the block is over; its folder is made.

    If the block fails, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> Path:
    """Write a file, or replace it, in a single step, and return its path; its folder is made."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def leftovers(path: Path) -> list[Path]:
    """Temporary files of `path` that killed processes left behind; only to be used while no other process writes it."""
    temporary = path.parent.glob(f".{glob.escape(path.name)}.*")
    return [found for found in temporary if found.suffix[1:].isdecimal()]


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which replaces `folder` in a single step when the block is over; its parents are made.

    If the block fails, `folder` is as it was. What a killed process left behind is removed by the next one.

    Raises:
        UserError: another process is writing it.
        OSError: it cannot be made.
    """
    from filelock import FileLock, Timeout

    new, old = (folder.with_name(f".{folder.name}.{part}") for part in ("new", "old"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0) as lock:
            if old.exists() and not folder.exists():
                old.rename(folder)  # a process was killed between the two steps of `_replace_folder`
            _remove_folders(new, old)
            new.mkdir()
            try:
                yield new
                _replace_folder(folder, new, old)
            finally:
                _remove_folders(new, old)
                with contextlib.suppress(OSError):  # Windows does not remove a file that is open
                    Path(lock.lock_file).unlink()
    except Timeout:
        raise UserError(f"another process is writing {folder}: let it finish.") from None


def _replace_folder(folder: Path, new: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def _remove_folders(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
