"""Files and folders that are replaced in one step, so that a reader never finds half of one."""

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError, WriteError, is_disk_error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` in a single step when the block is over; its folder is made.

    It lies in the same folder, so that no other disk is needed, and is on the disk before it is renamed, so that a
    power loss leaves the old file or the new one. If the block fails, `path` is as it was.

    Raises:
        WriteError: it cannot be written, such as on a full disk.
    """
    # The process id keeps two writers apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a WriteError that names `path`, unless it is about the content.

    Raises:
        WriteError: the disk is full or must not be written to, or `path` cannot be made.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        named = Path(error.filename) if isinstance(error.filename, str) else None
        if not (is_disk_error(error) if named is None else _is_about(named, path)):
            raise
        raise WriteError.of(path, error) from error


def _is_about(named: Path, path: Path) -> bool:
    """Whether an error that names a file is about writing `path`: about its folders, itself, or what replaces it."""
    temporary = f".{path.name}."
    return (
        named == path
        or named in path.parents
        or any(each.parent == path.parent and each.name.startswith(temporary) for each in (named, *named.parents))
    )


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; where the system cannot (Windows, some network disks), do nothing."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def write_text_atomically(path: Path, text: str, errors: str = "strict") -> Path:
    """Write a file in UTF-8, or replace it, in a single step, and return its path; its folder is made.

    Args:
        path: the file.
        text: its content.
        errors: what is done about text that UTF-8 does not have, as in `str.encode`.

    Raises:
        WriteError: it cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=errors)
    return path


def leftovers(path: Path) -> list[Path]:
    """Temporary files of `path` that killed processes left behind; only to be used while no other process writes it."""
    return leftovers_in(path.parent, glob.escape(path.name))


def leftovers_in(folder: Path, name: str = "*") -> list[Path]:
    """As `leftovers`, of all files in `folder` whose names match the pattern `name`."""
    return [found for found in folder.glob(f".{name}.*") if found.suffix[1:].isdecimal() and found.is_file()]


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which replaces `folder` in a single step when the block is over; its parents are made.

    If the block fails, `folder` is as it was. What a killed process left behind is removed by the next one.

    Raises:
        UserError: another process is writing it.
        WriteError: it cannot be written, such as on a full disk.
    """
    from filelock import FileLock, Timeout

    new, old = (folder.with_name(f".{folder.name}.{part}") for part in ("new", "old"))
    try:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
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
    for path in sorted(new.rglob("*")):
        (_sync_folder if path.is_dir() else _sync)(path)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
        _sync_folder(folder.parent)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def _remove_folders(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
