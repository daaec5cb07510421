"""The folder that a map is written into: whole files only, and nothing replaced that was not meant to be."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from fpcn_lightning.errors import UserError

CLASS_MAP, CONFIDENCE_MAP, OVERVIEW = "class_map.tif", "confidence_map.tif", "overview.png"
AREAS, GRAINS, CONTACTS, GRAIN_SIZES = "areas.csv", "grains.csv", "contacts.csv", "grain_sizes.csv"
SIZE_FIGURE, FACTS, SUMMARY = "grain_sizes.png", "map.json", "summary.txt"
RESULTS = (
    *(CLASS_MAP, CONFIDENCE_MAP, OVERVIEW, AREAS, GRAINS, CONTACTS, GRAIN_SIZES, SIZE_FIGURE, FACTS),
    SUMMARY,
)
_UNFINISHED = "unfinished"


@contextlib.contextmanager
def result_folder(output: Path, *, overwrite: bool) -> Iterator[Path]:
    """Keep `output` to this process, and give a folder in it for what a run that was cut off goes on from.

    That folder is removed where nothing was raised: the map is then finished.

    Raises:
        UserError: there is a finished map, or another process is at work there, or the folder cannot be made.
    """
    unfinished = output / _UNFINISHED
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output} cannot be made ({error.strerror}): name another folder with --output.") from error
    lock = FileLock(output / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another process is writing {output}: let it finish, or name another folder.") from None
    try:
        if overwrite:
            _clear(output)
        elif not unfinished.exists() and any((output / name).exists() for name in RESULTS):
            raise UserError(f"{output} holds results already: name another folder with --output, or say --overwrite.")
        unfinished.mkdir(exist_ok=True)
        yield unfinished
        shutil.rmtree(unfinished)
    finally:
        with contextlib.suppress(OSError):  # Windows lets nobody remove a file that is open
            Path(lock.lock_file).unlink()
        lock.release()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give another name to write to, and rename it to `path` where nothing was raised."""
    temporary = path.with_name(f"part-{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _clear(output: Path) -> None:
    for name in RESULTS:
        (output / name).unlink(missing_ok=True)
    if (output / _UNFINISHED).exists():
        shutil.rmtree(output / _UNFINISHED)
