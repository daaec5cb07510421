"""Finds the pictures of a source: a file, a folder or a list."""

import csv
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.data.images import SUFFIXES
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)


def is_list(source: Path) -> bool:
    """Whether a source is a CSV file that lists pictures."""
    return source.suffix.lower() == ".csv"


def find_pictures(source: Path, *, recursive: bool = True) -> list[Path]:
    """The picture files of a source, each once.

    Args:
        source: a file, whatever its name; a CSV file with a column `path`, absolute or relative to the CSV, in whose
            order the pictures are returned, missing ones too; or a folder. In folders, hidden files, files without the
            suffix of a picture, and links to folders are skipped.
        recursive: include the folders in a folder.

    Raises:
        UserError: there is no such source, or no picture in it.
    """
    if source.is_dir():
        paths = sorted(_in_folder(source, recursive))
    elif not source.exists():
        raise UserError(f"{source} does not exist: pass a picture, a folder of pictures, or a .csv with a column path.")
    else:
        paths = list(dict.fromkeys(_listed(source))) if is_list(source) else [source]
    if not paths and not source.is_dir():
        raise UserError(f"{source} names no picture: its column path has no entry.")
    if not paths:
        raise UserError(f"{source} contains no pictures: searched for {', '.join(sorted(SUFFIXES))}.")
    return paths


def _in_folder(folder: Path, recursive: bool) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_warn):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _warn(error: OSError) -> None:
    logger.warning("%s is skipped: %s", error.filename, error.strerror)


def _listed(path: Path) -> Iterator[Path]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets write a mark first
        head = text.partition("\n")[0]
        rows = list(csv.reader(text.split("\n"), delimiter=";" if ";" in head and "," not in head else ","))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8 ({error}): save it as CSV UTF-8.") from error
    columns = [cell.strip().lower() for cell in rows[0]]
    if "path" not in columns:
        raise UserError(f"{path} has no column path: its first line must name one.")
    position = columns.index("path")
    cells = (row[position].strip() for row in rows[1:] if len(row) > position)
    return (path.parent / cell for cell in cells if cell)
