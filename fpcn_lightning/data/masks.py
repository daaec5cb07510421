"""True object masks, and regions such as rulers and labels, where a data set brings them.

Each is an image that is white inside and black elsewhere. A CSV names masks in its column `mask` and regions in columns
such as `region_ruler`; next to class folders they are in `masks/` and in folders such as `regions/ruler/`, each under
the name of its image with the suffix .png.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.files import relative_name
from fpcn_lightning.data.folders import Skipped, subfolders
from fpcn_lightning.data.images import Shape, SquareFit, read_resized
from fpcn_lightning.data.index import MASKS, REGIONS
from fpcn_lightning.data.lists import is_list, located, read_list

OBJECT = "object"  # what masks show; regions have names of their own
REGION_COLUMN = "region_"


def marked_paths(root: Path, names: Sequence[str]) -> dict[str, dict[str, Path]]:
    """The files of masks, under `OBJECT`, and of regions, under their names, each by the name of its image.

    Args:
        root: the folder of class folders, or the CSV.
        names: of the images in the index, relative to the root.
    """
    if not (is_list(root) and root.is_file()):
        regions = subfolders(_named(root, REGIONS), Skipped())
        masks = _in_folder(_named(root, MASKS), names)
        return {OBJECT: masks, **{place.name: _in_folder(place, names) for place in regions}}
    rows = read_list(root, ("path", "label"))
    columns = [column for row in rows[:1] for column in row.cells if column.startswith(REGION_COLUMN)]
    regions_of = {column.removeprefix(REGION_COLUMN): column for column in columns}
    wanted = set(names)
    named = [(name, row) for row in rows if (name := _name(row.text("path"), root.parent)) in wanted]
    return {
        kind: _existing({name: located(root.parent, row.text(column)) for name, row in named if row.text(column)})
        for kind, column in {OBJECT: "mask", **regions_of}.items()
    }


def read_mask(path: Path, shape: Shape | SquareFit) -> NDArray[np.bool_]:
    """A mask resized to bool [H, W] as its image is; False where a square extends beyond the image.

    Raises:
        UnreadableImage: the file cannot be read as an image.
    """
    wanted = replace(shape, fill=(0, 0, 0)) if isinstance(shape, SquareFit) else shape
    return np.asarray(read_resized(path, wanted)[..., 0] > 127)


def _in_folder(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    return _existing({name: folder / PurePosixPath(name).with_suffix(".png") for name in names})


def _existing(paths: dict[str, Path]) -> dict[str, Path]:
    return {name: path for name, path in paths.items() if path.is_file()}


def _named(root: Path, name: str) -> Path:
    """The folder of this name, in any letter case, in a folder; it need not exist."""
    return next((item for item in subfolders(root, Skipped()) if item.name.casefold() == name), root / name)


def _name(path: str, folder: Path) -> str:
    return relative_name(os.path.normpath(located(folder, path)), folder)
