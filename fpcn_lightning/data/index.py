"""Which pictures there are: `find` lists files, `scan` decodes each once and sorts out what cannot be used."""

import csv
import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.data.images import SUFFIXES, Shape, UnreadableImage, decode, read_file
from fpcn_lightning.data.memo import Facts, Memo, read_memo, write_memo
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)

OnPixels = Callable[[int, NDArray[np.uint8]], None]
SIDES = ("train", "validation", "test")
MASKS = "masks"  # a folder of true object masks among the class folders, which is no class itself
REGIONS = "regions"  # likewise, of what is no object: folders such as regions/ruler
FOREIGN_NAMES = "surrogateescape"  # a file name out of an old archive need not be UTF-8

_SIDE_WORDS = {**{side: side for side in SIDES}, "val": "validation", "": None}


@dataclass(frozen=True, slots=True)
class Found:
    """A file that claims to be a picture, before anything of it was read."""

    name: str  # posix path relative to the root; unique
    path: Path  # absolute
    label: str
    group: str | None  # specimen, section, photographer, ...: pictures that belong on one side of a split
    published: str | None  # the side that the data set's authors chose: one of SIDES, or None
    size: int  # bytes; 0 where the file is missing
    mtime_ns: int  # time of the last change; 0 where the file is missing


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """A file that was decoded whole; the first five fields are those of `Found`."""

    name: str
    path: Path
    label: str
    group: str | None
    published: str | None
    digest: str  # SHA-1 of the file's bytes in hexadecimal
    width: int  # columns and rows of the upright picture
    height: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is left out, and why."""

    name: str
    label: str
    reason: str


@dataclass(frozen=True)
class Index:
    """All usable pictures below a root; the tuples are sorted (by name)."""

    root: Path  # the absolute path that `find` was given
    classes: tuple[str, ...]  # those with at least one picture
    pictures: tuple[IndexedImage, ...]
    refused: tuple[Refused, ...]


def find(root: Path, published_folders: Mapping[str, str] | None = None, minimum_classes: int = 2) -> list[Found]:
    """List the picture files of a data set without reading them.

    Args:
        root: a folder of class folders, which are searched at every depth (hidden files, files whose suffix is not in
            `SUFFIXES`, and a folder `masks` are passed over); or a CSV file with the columns path, label and, if
            wanted, group and split (train, validation or val, test). Its paths are absolute or relative to its own
            folder; a file that is missing is listed all the same, and refused when scanned.
        published_folders: where the class folders of each side lie below root, for a data set that comes split, such as
            {"train": "Training_Set", "test": "Testing_Set"}; nothing else is read then.
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


def scan(
    found: Sequence[Found],
    root: Path,
    *,
    on_pixels: OnPixels | None = None,
    shape: Shape | None = None,
    memo: Path | None = None,
    max_unreadable_share: float = 0.05,
    conflicting_labels: Literal["refuse", "keep"] = "refuse",
    minimum_classes: int = 2,
) -> Index:
    """Decode every file once, in one thread a processor core.

    Args:
        found: what `find` gave, or a part of it.
        root: what `find` was given.
        on_pixels: called with a position in `found` and the pixels of `read_resized` there (uint8 [H, W, 3]), once for
            each file that was decoded now; from several threads at once, in no fixed order.
        shape: height and width of those pixels; None leaves each picture as large as it is.
        memo: JSON file that keeps what reading showed, so that files unchanged since (same name, size and time) are
            not decoded again. Refused files are tried again each time, since the cure may be a package installed.
        max_unreadable_share: 0 to 1; more unreadable files than this is an error.
        conflicting_labels: exact copies of one picture under several labels are all refused, or all kept.
        minimum_classes: with pictures left.

    Raises:
        UserError: too many unreadable files, or too few classes left.
    """
    root = root.absolute()
    results = _read_all(found, read_memo(memo) if memo else {}, on_pixels, shape)
    if memo is not None:
        keys = [(file.name, file.size, file.mtime_ns) for file in found]
        write_memo(memo, {key: facts for key, facts in zip(keys, results, strict=True) if not isinstance(facts, str)})
    unreadable, pictures = [], []
    for file, result in zip(found, results, strict=True):
        if isinstance(result, str):
            unreadable.append(Refused(file.name, file.label, result))
        else:
            pictures.append(IndexedImage(file.name, file.path, file.label, file.group, file.published, *result))
    if len(unreadable) > max_unreadable_share * len(found):
        raise UserError(
            f"{len(unreadable)} of {len(found)} files ({len(unreadable) / len(found):.1%}) of {root} cannot be read, "
            f"such as {_examples(unreadable)}: mend or remove them, or raise data.max_unreadable_share "
            f"(now {max_unreadable_share:g})."
        )
    conflicts = _conflicts(pictures) if conflicting_labels == "refuse" else {}
    kept = sorted((picture for picture in pictures if picture.name not in conflicts), key=lambda item: item.name)
    refused = sorted((*unreadable, *conflicts.values()), key=lambda item: item.name)
    classes = sorted({picture.label for picture in kept})
    if len(classes) < minimum_classes:
        raise UserError(f"{root} has pictures left of {len(classes)} class only; refused: {_examples(refused)}.")
    return Index(root, tuple(classes), tuple(kept), tuple(refused))


def write_refused(index: Index, path: Path) -> None:
    """Write the files that were left out as a CSV with the columns name, label and reason."""
    with path.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file:
        writer = csv.writer(file)
        writer.writerow(("name", "label", "reason"))
        writer.writerows((item.name, item.label, item.reason) for item in index.refused)


def read_rows(path: Path, columns: Sequence[str], errors: str = "strict") -> list[dict[str, str]]:
    """Read a CSV file with a header, each line as its cells by column; `errors` is for text that is not UTF-8.

    Raises:
        UserError: the file cannot be read as CSV in UTF-8, or lacks one of the columns.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors=errors).splitlines()  # spreadsheets put a mark first
        header = [column.strip() for column in next(csv.reader(lines), [])]
        rows = list(csv.DictReader(lines[1:], header, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8 ({error}): mend it or save it as such.") from error
    if missing := [column for column in columns if column not in header]:
        raise UserError(f"{path} lacks {' and '.join(missing)}: the first line must name {','.join(columns)}.")
    return rows


def _found(path: Path, root: Path, label: str, group: str | None = None, published: str | None = None) -> Found:
    name = Path(os.path.relpath(path, root)).as_posix()
    stat = path.stat() if path.is_file() else None
    size, mtime_ns = (stat.st_size, stat.st_mtime_ns) if stat else (0, 0)
    return Found(name, path, label, group, published, size, mtime_ns)


def _in_folders(root: Path, published_folders: Mapping[str, str]) -> Iterator[Found]:
    places: Mapping[str, str] | dict[None, str] = published_folders or {None: "."}
    for side, place in ((side, root / folder) for side, folder in places.items()):
        folders = [
            item
            for item in place.glob("*")
            if item.is_dir() and item.name not in (MASKS, REGIONS) and item.name[0] != "."
        ]
        if not folders:
            problem = "holds no class folders" if place.is_dir() else "does not exist"
            raise UserError(f"{place} {problem}: the pictures of each class belong in a folder of its name there.")
        for folder in folders:
            files = list(_picture_files(folder))
            if not files:
                logger.warning("%s holds no pictures of a kind that can be read: there will be no such class", folder)
            yield from (_found(path, root, folder.name, published=side) for path in files)


def _is_no_class(folder: str) -> bool:
    return folder in (MASKS, REGIONS) or folder.startswith(".")


def _picture_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
            yield path


def _in_csv(path: Path) -> list[Found]:
    by_name: dict[str, Found] = {}
    for row in read_rows(path, ("path", "label")):
        found = _from_row(row, path)
        if by_name.setdefault(found.name, found) != found:
            raise UserError(f"{path} lists {row['path']} twice, with another label, group or split: remove one line.")
    return list(by_name.values())


def _from_row(row: Mapping[str, str], csv_path: Path) -> Found:
    path, label, group, split = (row.get(column, "").strip() for column in ("path", "label", "group", "split"))
    if not path or not label:
        raise UserError(f"{csv_path} has a line with the path {path!r} and the label {label!r}: fill in or remove it.")
    if split.lower() not in _SIDE_WORDS:
        raise UserError(f"{csv_path} puts {path} on the side {split!r}: use train, validation or test in column split.")
    # Joining keeps an absolute path as it is; normpath makes ./a.jpg and a.jpg one file.
    file = Path(os.path.normpath(csv_path.parent / path))
    return _found(file, csv_path.parent, label, group or None, _SIDE_WORDS[split.lower()])


def _read_all(
    found: Sequence[Found], known: Memo, on_pixels: OnPixels | None, shape: Shape | None
) -> list[Facts | str]:
    """What each file showed, or the reason why it gave nothing."""

    def read(position: int) -> Facts | str:
        file = found[position]
        if facts := known.get((file.name, file.size, file.mtime_ns)):
            return facts
        try:
            data = read_file(file.path)
            decoded = decode(data, shape)
        except UnreadableImage as error:
            return str(error)
        if on_pixels is not None:
            on_pixels(position, decoded.pixels)
        return hashlib.sha1(data, usedforsecurity=False).hexdigest(), decoded.width, decoded.height

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(read, range(len(found)))
        # Without a terminal there is no bar, and none for what is over at once.
        return list(tqdm(results, "reading pictures", len(found), unit="file", delay=2, disable=None, leave=False))


def _examples(refused: Sequence[Refused]) -> str:
    return "; ".join(f"{item.name} ({item.reason})" for item in refused[:3])


def _conflicts(pictures: Sequence[IndexedImage]) -> dict[str, Refused]:
    """Every copy of a picture that lies under several labels, by name."""
    labels = defaultdict(set)
    for picture in pictures:
        labels[picture.digest].add(picture.label)
    conflicts = {}
    for picture in pictures:
        if others := ", ".join(sorted(labels[picture.digest] - {picture.label})):
            conflicts[picture.name] = Refused(picture.name, picture.label, f"the same picture is also under {others}")
    return conflicts
