"""The image files of a data set: `find` lists them, from class folders or a CSV, without reading them.

`fpcn_lightning.data.scan` decodes them and makes the `Index`.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fpcn_lightning.data.files import relative_name, why_no_file
from fpcn_lightning.data.folders import Skipped, picture_files, subfolders
from fpcn_lightning.data.lists import ListRow, is_list, located, read_list
from fpcn_lightning.data.names import MAX_CLASSES, class_key, class_problem, escaped, spellings
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    **{split: split for split in SPLITS},
    **{"training": "train", "validation": "val", "valid": "val", "testing": "test"},
}
"""The split that a word in lower case means, in a user's CSV, as a folder, or in a file of an earlier version."""

MASKS = "masks"  # a folder of true object masks among the class folders, not a class
REGIONS = "regions"  # likewise, of what is not the object: folders such as regions/ruler


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file with the suffix of an image; its content has not been read."""

    name: str  # posix path relative to the root; unique
    path: Path  # absolute
    label: str
    group: str | None  # specimen, section, photographer, ...: images that must stay in one split
    published: str | None  # the split that the data set's authors chose: one of SPLITS, or None
    size: int  # bytes; 0 where the file is missing
    mtime_ns: int  # time of the last change; 0 where the file is missing


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """A file that was decoded as a whole; the first five fields are those of `ListedFile`."""

    name: str
    path: Path
    label: str
    group: str | None
    published: str | None
    digest: str  # SHA-1 of the file's bytes in hexadecimal
    width: int  # pixels of the upright image
    height: int


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that is not used, and why."""

    name: str
    label: str
    reason: str


@dataclass(frozen=True)
class Index:
    """All usable images below a root; the tuples are sorted (by name)."""

    root: Path  # the absolute path that `find` was given
    classes: tuple[str, ...]  # those with at least one image
    pictures: tuple[IndexedImage, ...]
    refused: tuple[RefusedFile, ...]


def find(
    root: Path,
    published_folders: Mapping[str, str] | None = None,
    minimum_classes: int = 2,
    classes: Sequence[str] | None = None,
) -> list[ListedFile]:
    """List the image files of a data set without reading them.

    Labels that are equal without letter case, Unicode form and blanks at the ends are one class.

    Args:
        root: a folder of class folders, which are searched at every depth (`fpcn_lightning.data.folders` says what is
            skipped; the folders `masks` and `regions` are no classes); or a CSV file with the columns path, label
            and optionally group and split (the keys of `SPLIT_NAMES`, in any case). Its paths are absolute or
            relative to its own folder; a missing file is listed, and refused when it is scanned.
        published_folders: where the class folders of each split are below root, for a data set that was published with
            a split, such as {"train": "Training_Set", "test": "Testing_Set"}; nothing else is read then.
        minimum_classes: fewer than this is an error.
        classes: those of a network; labels that are equal to one of them get its spelling. None for a data set to
            train with: then names that a bundle could not hold are an error.

    Returns:
        Sorted by name.

    Raises:
        UserError: nothing at root, no class folders, too few or too many classes, a class name that cannot be used, or
            a CSV that contradicts itself.
    """
    root = root.absolute()
    check_root(root)
    if root.is_dir():
        skipped = Skipped()
        found = list(_in_folders(root, published_folders or {}, skipped, check=classes is None))
        skipped.log(root)
    else:
        found = _in_list(root, check=classes is None)
    spelling = spellings((file.label for file in found), classes)
    found = [replace(file, label=spelling[file.label]) for file in found]
    labels = sorted({file.label for file in found})
    if len(labels) < minimum_classes:
        names = " and ".join(labels) or "no class"
        raise UserError(
            f"{root} holds pictures of {names} only: at least {minimum_classes} classes are needed, each with a folder "
            "of pictures or with lines in the list. If the class folders are in a deeper folder, pass that (data.root)."
        )
    if len(labels) > MAX_CLASSES:
        raise UserError(f"{root} has {len(labels):,} classes, more than the limit of {MAX_CLASSES:,}: merge some.")
    return sorted(found, key=lambda file: file.name)


def check_root(root: Path) -> None:
    """Check that the root of a data set is a folder or a list, without reading it.

    Raises:
        UserError: it is neither.
    """
    root = root.absolute()
    if not (root.is_dir() or (root.is_file() and is_list(root))):
        problem = "is neither a folder nor a .csv or .xlsx file" if root.exists() else "does not exist"
        raise UserError(f"{root} {problem}: pass a folder of class folders, or a .csv or .xlsx file (data.root).")


def listed_file(
    path: Path, root: Path, label: str, group: str | None = None, published: str | None = None
) -> ListedFile:
    """A file below a root, with its size and time where it can be read."""
    name = relative_name(path, root)
    stat = path.stat() if why_no_file(path) is None else None
    size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
    return ListedFile(name, path, label, group, published, size, mtime_ns)


def _in_folders(
    root: Path, published_folders: Mapping[str, str], skipped: Skipped, *, check: bool
) -> Iterator[ListedFile]:
    places: Mapping[str, str] | dict[None, str] = published_folders or {None: "."}
    for split, place in ((split, root / folder) for split, folder in places.items()):
        folders = [item for item in subfolders(place, skipped) if item.name.casefold() not in (MASKS, REGIONS)]
        if not folders:
            problem = "holds no class folders" if place.is_dir() else "does not exist"
            raise UserError(f"{place} {problem}: put the pictures of each class into a folder of its name there.")
        for folder in folders:
            files = picture_files(folder, skipped)
            if not files:
                logger.warning("%s holds no pictures in a supported format and is ignored", escaped(str(folder)))
            elif check:
                _check_label(folder.name, f"the folder {escaped(str(folder))}")
            yield from (listed_file(path, root, folder.name, published=split) for path in files)


def _check_label(label: str, place: str) -> None:
    if (problem := class_problem(label)) is not None:
        raise UserError(f"{place}: the class name '{escaped(label)}' {problem}: rename the class.")


def _in_list(path: Path, *, check: bool) -> list[ListedFile]:
    by_name: dict[str, tuple[ListedFile, ListRow]] = {}
    for row in read_list(path, ("path", "label")):
        listed = _from_row(row, path.parent)
        if check:
            _check_label(listed.label, row.place)
        first, first_row = by_name.setdefault(listed.name, (listed, row))
        if replace(first, label=class_key(first.label)) != replace(listed, label=class_key(listed.label)):
            raise UserError(
                f"{row.place} lists {row.text('path')} again, with another label, group or split than "
                f"{first_row.place}: remove one of the rows."
            )
    return [listed for listed, _ in by_name.values()]


def _from_row(row: ListRow, folder: Path) -> ListedFile:
    path, label, group, split = (row.text(column) for column in ("path", "label", "group", "split"))
    if not path or not label:
        raise UserError(f"{row.place} has the path {path!r} and the label {label!r}: fill in both, or remove the row.")
    if split and split.lower() not in SPLIT_NAMES:
        raise UserError(f"{row.place} puts {path} into the split {split!r}: use {', '.join(SPLITS)} in column split.")
    # Joining keeps an absolute path as it is; normpath makes ./a.jpg and a.jpg one file.
    file = Path(os.path.normpath(located(folder, path)))
    return listed_file(file, folder, label, group or None, SPLIT_NAMES.get(split.lower()))
