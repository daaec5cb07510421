"""Recognises a data set that was published as the folders train, val and test, each with class folders in it."""

import logging
import re
from pathlib import Path

from fpcn_lightning.data.folders import Skipped, picture_files, subfolders
from fpcn_lightning.data.index import MASKS, REGIONS, SPLIT_NAMES, SPLITS
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)

_ENDING = re.compile(r"[\W_]*(set|split|data|dataset|images|pictures|photos)$")  # as in Training_Set


def split_of_folder(name: str) -> str | None:
    """The split that the name of a folder means, such as `test` for Testing_Set; None if it means none."""
    return SPLIT_NAMES.get(_ENDING.sub("", name.strip().casefold()))


def published_folders(root: Path) -> dict[str, str]:
    """The folder of each split below root, if the folders in it are named after splits; otherwise, as of a list, empty.

    A data set needs folders of at least two splits for that, because a single one may be a class. Empty folders are
    left out.

    Raises:
        UserError: some folders are named after splits, but it is not clear that all of them are splits.
    """
    if not root.is_dir():
        return {}
    skipped = Skipped()  # `find` reports what is left out
    folders = [item for item in subfolders(root, skipped) if item.name.casefold() not in (MASKS, REGIONS)]
    splits = {item: split for item in folders if (split := split_of_folder(item.name)) is not None}
    if len(set(splits.values())) < 2:
        return {}
    filled = {item: split for item, split in splits.items() if subfolders(item, skipped) or _pictures_in(item)}
    problem = _problem(folders, filled)
    if problem is not None:
        names = ", ".join(item.name for item in splits)
        raise UserError(
            f"{root} holds the folders {names}, which look like a published split, but {problem}: set "
            "data.split.published.train=FOLDER and data.split.published.test=FOLDER (and val) to the folders that hold "
            "the class folders of each split. If they are classes, rename them, or list the pictures in a .csv."
        )
    found = {split: item.name for split in SPLITS for item in filled if filled[item] == split}
    described = ", ".join(
        f"{split} from {found[split]}" if split in found else f"{split} taken out of {found['train']}"
        for split in SPLITS
    )
    logger.info("%s holds a published split, which is used: %s", root, described)
    return found


def _problem(folders: list[Path], filled: dict[Path, str]) -> str | None:
    """Why the folders are not clearly a published split, as the rest of a sentence; None if they are."""
    others = [item.name for item in folders if split_of_folder(item.name) is None and picture_files(item, Skipped())]
    if others:
        return f"there is also {', '.join(others[:3])}"
    for split in SPLITS:
        same = [item.name for item in filled if filled[item] == split]
        if len(same) > 1:
            return f"{' and '.join(same)} both mean {split}"
    direct = [item.name for item in filled if _pictures_in(item)]
    if direct:
        return f"{direct[0]} holds pictures directly instead of in class folders"
    return None if "train" in filled.values() else "none of them that holds class folders is for training"


def _pictures_in(folder: Path) -> bool:
    return bool(picture_files(folder, Skipped(), recursive=False))
