"""The folder that a map is written into: whole files only, and nothing replaced that was not meant to be."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.kept import FILES, KEY
from fpcn_lightning.field.one_process import acquired, release

CLASS_MAP, CONFIDENCE_MAP, OVERVIEW = "class_map.tif", "confidence_map.tif", "overview.png"
AREAS, GRAINS, CONTACTS, GRAIN_SIZES = "areas.csv", "grains.csv", "contacts.csv", "grain_sizes.csv"
SIZE_FIGURE, FACTS, SUMMARY = "grain_sizes.png", "map.json", "summary.txt"
RESULTS = (
    *(CLASS_MAP, CONFIDENCE_MAP, OVERVIEW, AREAS, GRAINS, CONTACTS, GRAIN_SIZES, SIZE_FIGURE, FACTS),
    SUMMARY,
)
UNFINISHED = ".fpcn-map-unfinished"


@contextlib.contextmanager
def result_folder(output: Path, section: Path, *, overwrite: bool) -> Iterator[Path]:
    """Keep `output` to this process, and give a folder in it for what a run that was cut off goes on from.

    That folder, for `fpcn_lightning.field.mapping.kept.Kept`, is removed where nothing was raised: the map is then
    finished. A run that can be gone on with is known by the key in it.

    Raises:
        UserError: there is a finished map, or another process is at work there, or the folder cannot be made; or
            something of the user's would be lost: the section itself, or files in the folder for what is unfinished.
    """
    unfinished = output / UNFINISHED
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output} cannot be made ({error.strerror}): name another folder with --output.") from error
    lock = acquired(output / ".lock", output, "folder")
    try:
        _check_ours(unfinished)
        _check_section(output, section)
        if overwrite:
            for name in RESULTS:
                (output / name).unlink(missing_ok=True)
        if overwrite or not (unfinished / KEY).exists():
            _remove(unfinished)
            if any((output / name).exists() for name in RESULTS):
                raise UserError(
                    f"{output} holds results already: name another folder with --output, or say --overwrite."
                )
        unfinished.mkdir(exist_ok=True)
        yield unfinished
        _remove(unfinished)
    finally:
        release(lock)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give another name to write to, and rename it to `path` where nothing was raised."""
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_ours(unfinished: Path) -> None:
    if unfinished.is_symlink() or (unfinished.exists() and not unfinished.is_dir()):
        raise UserError(f"{unfinished} is no folder of this program: move it, or name another folder with --output.")
    others = sorted(path.name for path in unfinished.glob("*") if path.name not in FILES)
    if others:
        raise UserError(
            f"{unfinished} holds files that are not of this program ({others[0]}): move them, or name another folder "
            "with --output."
        )


def _check_section(output: Path, section: Path) -> None:
    results = [output / name for name in RESULTS]
    for result in (*results, *map(_temporary, results)):
        if result.exists() and result.samefile(section):
            raise UserError(
                f"{section} would be replaced by its own map, which writes {result.name}: name another folder with "
                "--output."
            )


def _temporary(path: Path) -> Path:
    return path.with_name(f"part-{path.name}")


def _remove(unfinished: Path) -> None:
    for name in FILES:  # the key first: a map whose folder was half removed is finished
        (unfinished / name).unlink(missing_ok=True)
    if unfinished.exists():
        unfinished.rmdir()
