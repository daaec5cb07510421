"""The image files of a data set: `find` lists them, from class folders or a CSV, without reading them.

`fpcn_lightning.data.scan` decodes them and makes the `Index`.
"""

import csv
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.data.images import SUFFIXES
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {**{split: split for split in SPLITS}, "validation": "val", "valid": "val"}
"""The split that a word in lower case means, in a user's CSV or in a file of an earlier version."""

MASKS = "masks"  # a folder of true object masks among the class folders, not a class
REGIONS = "regions"  # likewise, of what is not the object: folders such as regions/ruler
FOREIGN_NAMES = "surrogateescape"  # a file name out of an old archive need not be UTF-8


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


def find(root: Path, published_folders: Mapping[str, str] | None = None, minimum_classes: int = 2) -> list[ListedFile]:
    """List the image files of a data set without reading them.

    Args:
        root: a folder of class folders, which are searched at every depth (hidden files, files whose suffix is not in
            `SUFFIXES`, and the folders `masks` and `regions` are ignored); or a CSV file with the columns path, label
            and optionally group and split (the keys of `SPLIT_NAMES`, in any case). Its paths are absolute or
            relative to its own folder; a missing file is listed, and refused when it is scanned.
        published_folders: where the class folders of each split are below root, for a data set that was published with
            a split, such as {"train": "Training_Set", "test": "Testing_Set"}; nothing else is read then.
        minimum_classes: fewer than this is an error.

    Returns:
        Sorted by name.

    Raises:
        UserError: nothing at root, no class folders, too few classes, or a CSV that contradicts itself.
    """
    root = root.absolute()
    if root.is_dir():
        found = list(_in_folders(root, published_folders or {}))
    elif root.is_file() and root.suffix.lower() == ".csv":
        found = _in_csv(root)
    else:
        problem = "is neither a folder nor a .csv file" if root.exists() else "does not exist"
        raise UserError(f"{root} {problem}: set data.root to a folder of class folders or to a .csv file.")
    labels = sorted({file.label for file in found})
    if len(labels) < minimum_classes:
        raise UserError(
            f"{root} holds pictures of {' and '.join(labels) or 'no class'} only: at least "
            f"{minimum_classes} classes are needed, each with a folder of pictures or with lines in the .csv."
        )
    return sorted(found, key=lambda file: file.name)


def read_rows(
    path: Path, columns: Sequence[str], errors: str = "strict", renamed: Mapping[str, str] | None = None
) -> list[dict[str, str]]:
    """Read a CSV file with a header, each line as its cells by column.

    Args:
        path: the file.
        columns: those that it must have.
        errors: what is done about text that is not UTF-8, as in `bytes.decode`.
        renamed: today's names of columns by the names that earlier versions wrote.

    Raises:
        UserError: the file cannot be read as CSV in UTF-8, or lacks one of the columns.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors=errors).splitlines()  # spreadsheets put a mark first
        header = [column.strip() for column in next(csv.reader(lines), [])]
        header = [(renamed or {}).get(column, column) for column in header]
        rows = list(csv.DictReader(lines[1:], header, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8 ({error}): fix it or save it as such.") from error
    if missing := [column for column in columns if column not in header]:
        raise UserError(f"{path} lacks {' and '.join(missing)}: the first line must name {','.join(columns)}.")
    return rows


def _listed(path: Path, root: Path, label: str, group: str | None = None, published: str | None = None) -> ListedFile:
    name = Path(os.path.relpath(path, root)).as_posix()
    stat = path.stat() if path.is_file() else None
    size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
    return ListedFile(name, path, label, group, published, size, mtime_ns)


def _in_folders(root: Path, published_folders: Mapping[str, str]) -> Iterator[ListedFile]:
    places: Mapping[str, str] | dict[None, str] = published_folders or {None: "."}
    for split, place in ((split, root / folder) for split, folder in places.items()):
        folders = [
            item
            for item in place.glob("*")
            if item.is_dir() and item.name not in (MASKS, REGIONS) and not item.name.startswith(".")
        ]
        if not folders:
            problem = "holds no class folders" if place.is_dir() else "does not exist"
            raise UserError(f"{place} {problem}: put the pictures of each class into a folder of its name there.")
        for folder in folders:
            files = list(_image_files(folder))
            if not files:
                logger.warning("%s holds no pictures in a supported format and is ignored", folder)
            yield from (_listed(path, root, folder.name, published=split) for path in files)


def _image_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _in_csv(path: Path) -> list[ListedFile]:
    by_name: dict[str, ListedFile] = {}
    for row in read_rows(path, ("path", "label")):
        listed = _from_row(row, path)
        if by_name.setdefault(listed.name, listed) != listed:
            raise UserError(f"{path} lists {row['path']} twice, with another label, group or split: remove one line.")
    return list(by_name.values())


def _from_row(row: Mapping[str, str], csv_path: Path) -> ListedFile:
    path, label, group, split = (row.get(column, "").strip() for column in ("path", "label", "group", "split"))
    if not path or not label:
        raise UserError(f"{csv_path} has a line with the path {path!r} and the label {label!r}: fill in or remove it.")
    if split and split.lower() not in SPLIT_NAMES:
        raise UserError(f"{csv_path} puts {path} into the split {split!r}: use {', '.join(SPLITS)} in column split.")
    # Joining keeps an absolute path as it is; normpath makes ./a.jpg and a.jpg one file.
    file = Path(os.path.normpath(csv_path.parent / path))
    return _listed(file, csv_path.parent, label, group or None, SPLIT_NAMES.get(split.lower()))
