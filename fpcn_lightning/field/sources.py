"""Finds the pictures of a source: a file, a folder or a list."""

import os
from pathlib import Path

from fpcn_lightning.data.files import why_no_file
from fpcn_lightning.data.folders import Skipped, picture_files
from fpcn_lightning.data.images import SUFFIXES
from fpcn_lightning.data.lists import is_list, located, read_list
from fpcn_lightning.errors import UserError


def find_pictures(source: Path, *, recursive: bool = True) -> list[Path]:
    """The picture files of a source, each once.

    Args:
        source: a file, whatever its name; a CSV file with a column `path`, absolute or relative to the CSV, in whose
            order the pictures are returned, missing ones too; or a folder, which is read as that of a training
            (`fpcn_lightning.data.folders`).
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
        return paths
    if not os.path.lexists(source):
        raise UserError(f"{source} does not exist: pass a picture, a folder of pictures, or a .csv with a column path.")
    if not is_list(source):
        if (reason := why_no_file(source)) is not None:
            raise UserError(f"{source}: {reason}: pass a picture, a folder of pictures, or a .csv with a column path.")
        return [source]
    names = [name for row in read_list(source, ("path",)) if (name := row.text("path"))]
    if not names:
        raise UserError(f"{source} names no picture: its column path has no entry.")
    return list(dict.fromkeys(located(source.parent, name) for name in names))
