"""Finds the pictures of a source: a file, a folder or a list."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fpcn_lightning.data.files import why_no_file
from fpcn_lightning.data.folders import Skipped, picture_files
from fpcn_lightning.data.images import SUFFIXES
from fpcn_lightning.data.lists import is_list, located, read_table
from fpcn_lightning.errors import UserError

_PASS = "pass a picture, a folder of pictures, or a .csv or .xlsx with a column path"


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PictureSource:
    """The picture files of a source, and what a list says about them.

    Attributes:
        paths: each once.
        columns: of the list, without that of the paths; none of a folder or a file.
        cells: by path, the text of each of these columns.
    """

    paths: list[Path]
    columns: tuple[str, ...] = ()
    cells: Mapping[Path, tuple[str, ...]] = field(default_factory=dict)


def find_pictures(source: Path, *, recursive: bool = True) -> list[Path]:
    """The picture files of a source, each once; see `read_source`."""
    return read_source(source, recursive=recursive).paths


def read_source(source: Path, *, recursive: bool = True) -> PictureSource:
    """The picture files of a source, each once, and the other columns of a list.

    Args:
        source: a file, whatever its name; a CSV or Excel file with a column `path`, absolute or relative to that file,
            in whose order the pictures are returned, missing ones too; or a folder, which is read as that of a training
            (`fpcn_lightning.data.folders`). Of several rows about one picture the first counts.
        recursive: include the folders in a folder.

    Raises:
        UserError: there is no such source, it is a device or a pipe, or no picture is in it.
    """
    if source.is_dir():
        skipped = Skipped()
        paths = picture_files(source, skipped, recursive=recursive)
        skipped.log(source)
        if not paths:
            raise UserError(f"{source} contains no pictures: searched for {', '.join(sorted(SUFFIXES))}.")
        return PictureSource(paths)
    if not os.path.lexists(source):
        raise UserError(f"{source} does not exist: {_PASS}.")
    if not is_list(source):
        if (reason := why_no_file(source)) is not None:
            raise UserError(f"{source}: {reason}: {_PASS}.")
        return PictureSource([source])
    return _from_list(source)


def _from_list(source: Path) -> PictureSource:
    table = read_table(source, ("path",))
    others = [key for key in table.header if key != "path"]
    cells: dict[Path, tuple[str, ...]] = {}
    different = 0
    for row in table.rows:
        if name := row.text("path"):
            kept = tuple(row.text(key) for key in others)
            different += cells.setdefault(located(source.parent, name), kept) != kept
    if not cells:
        raise UserError(f"{source} names no picture: its column path has no entry.")
    if different:
        logger.warning(
            "%s lists pictures again with other values in %d rows, which are left out: the first row of each picture "
            "counts",
            source,
            different,
        )
    return PictureSource(list(cells), tuple(table.header[key] for key in others), cells)
