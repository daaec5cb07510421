"""True object masks, where a data set brings them: pictures that are white on the object and black elsewhere.

A CSV names them in its column `mask`; beside class folders they lie in `masks/`, each under the name of its picture
with the suffix .png.
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images import Shape, read_resized
from fpcn_lightning.data.index import FOREIGN_NAMES, MASKS, read_rows


def mask_paths(root: Path, names: Iterable[str]) -> dict[str, Path]:
    """The masks that there are, by the name of their picture.

    Args:
        root: the folder of class folders, or the CSV.
        names: of pictures in the index, relative to the root.
    """
    if root.suffix.lower() == ".csv" and root.is_file():
        rows = read_rows(root, ("path", "label"), FOREIGN_NAMES)
        named = {_name(row["path"], root.parent): root.parent / mask for row in rows if (mask := row.get("mask"))}
        candidates = {name: named[name] for name in names if name in named}
    else:
        candidates = {name: root / MASKS / PurePosixPath(name).with_suffix(".png") for name in names}
    return {name: path for name, path in candidates.items() if path.is_file()}


def read_mask(path: Path, shape: Shape) -> NDArray[np.bool_]:
    """A mask resized to bool [H, W], `shape`, as its picture is.

    Raises:
        UnreadableImage: it is no picture.
    """
    return np.asarray(read_resized(path, shape)[..., 0] > 127)


def _name(path: str, folder: Path) -> str:
    return Path(os.path.relpath(os.path.normpath(folder / path.strip()), folder)).as_posix()
