"""True object masks, and regions such as rulers and labels, where a data set brings them.

Each is a picture that is white inside and black elsewhere. A CSV names masks in its column `mask` and regions in
columns such as `region_ruler`; beside class folders they lie in `masks/` and in folders such as `regions/ruler/`, each
under the name of its picture with the suffix .png.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images import Shape, read_resized
from fpcn_lightning.data.index import FOREIGN_NAMES, MASKS, REGIONS, read_rows

OBJECT = "object"  # what masks show, beside the names of regions
REGION_COLUMN = "region_"


def mask_paths(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The masks that there are, by the name of their picture.

    Args:
        root: the folder of class folders, or the CSV.
        names: of pictures in the index, relative to the root.
    """
    return _in_column(root, names, "mask") if _is_list(root) else _in_folder(root / MASKS, names)


def region_paths(root: Path, names: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Likewise of the regions, by the name of the region."""
    if not _is_list(root):
        folders = sorted(folder for folder in (root / REGIONS).glob("*") if folder.is_dir())
        return {folder.name: _in_folder(folder, names) for folder in folders}
    # Cells without a heading have no name.
    columns = [column for row in _rows(root)[:1] for column in row if column and column.startswith(REGION_COLUMN)]
    return {column.removeprefix(REGION_COLUMN): _in_column(root, names, column) for column in columns}


def read_mask(path: Path, shape: Shape) -> NDArray[np.bool_]:
    """A mask resized to bool [H, W], `shape`, as its picture is.

    Raises:
        UnreadableImage: it is no picture.
    """
    return np.asarray(read_resized(path, shape)[..., 0] > 127)


def _is_list(root: Path) -> bool:
    return root.suffix.lower() == ".csv" and root.is_file()


def _rows(root: Path) -> list[dict[str, str]]:
    return read_rows(root, ("path", "label"), FOREIGN_NAMES)


def _in_column(root: Path, names: Sequence[str], column: str) -> dict[str, Path]:
    named = {_name(row["path"], root.parent): root.parent / mask for row in _rows(root) if (mask := row.get(column))}
    return {name: named[name] for name in names if name in named and named[name].is_file()}


def _in_folder(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    paths = {name: folder / PurePosixPath(name).with_suffix(".png") for name in names}
    return {name: path for name, path in paths.items() if path.is_file()}


def _name(path: str, folder: Path) -> str:
    return Path(os.path.relpath(os.path.normpath(folder / path.strip()), folder)).as_posix()
