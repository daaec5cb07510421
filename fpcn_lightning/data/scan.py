"""`scan` decodes every listed file once, refuses what cannot be used, and makes the index.

What it finds is stored in a memo, so that files that have not changed since are not read again.
"""

import csv
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.cores import usable_cores
from fpcn_lightning.data.images import DEFAULT_LIMITS, ImageLimits, ImageReader, Shape, SquareFit, UnreadableImage
from fpcn_lightning.data.index import Index, IndexedImage, ListedFile, RefusedFile
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_write, write_text_atomically
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES

logger = logging.getLogger(__name__)

OnPixels = Callable[[int, NDArray[np.uint8]], None]
Facts = tuple[str, int, int]  # digest, width and height of an image
Memo = dict[tuple[str, int, int], Facts]  # by name, size in bytes, and time of the last change in ns

REFUSED_NAME = "refused.csv"  # in a run folder
_MEMO_SCHEMA = 2  # 1 was written by a reader that also accepted damaged files
_SMALL = (8, 8)  # pixels, where none are wanted
_PICTURES_A_PROCESS = 20  # fewer are read sooner than another process starts


def scan(
    found: Sequence[ListedFile],
    root: Path,
    *,
    on_pixels: OnPixels | None = None,
    shape: Shape | SquareFit | None = None,
    memo: Path | None = None,
    max_unreadable_share: float = 0.05,
    conflicting_labels: Literal["refuse", "keep"] = "refuse",
    minimum_classes: int = 2,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Index:
    """Decode every file once, in up to one process for each processor core.

    Args:
        found: what `find` returned, or a part of it.
        root: the root that `find` was given.
        on_pixels: called with a position in `found` and the pixels of `read_resized` there (uint8 [H, W, 3]), once for
            each file that is decoded now; from several threads at once, in no fixed order.
        shape: height and width of those pixels, or how they become a square; None keeps the size of each image.
        memo: JSON file of what earlier scans found; unchanged files (same name, size and time) are not decoded again.
            Refused files are tried again each time, because a missing package may have been installed.
        max_unreadable_share: 0 to 1; a larger share of unreadable files is an error.
        conflicting_labels: exact copies of one image under several labels are all refused, or all kept.
        minimum_classes: fewer classes with usable images are an error.
        limits: of each file.

    Raises:
        UserError: too many unreadable files, or too few classes left.
    """
    root = root.absolute()
    known = _read_memo(memo) if memo else {}
    results = _read_all(found, known, on_pixels, shape, limits)
    if memo is not None:
        keys = [(file.name, file.size, file.mtime_ns) for file in found]
        facts = {key: facts for key, facts in zip(keys, results, strict=True) if not isinstance(facts, str)}
        if facts != known:  # the memo of another user may be complete, but not be writable
            _write_memo(memo, facts)
    unreadable, pictures = [], []
    for file, result in zip(found, results, strict=True):
        if isinstance(result, str):
            unreadable.append(RefusedFile(file.name, file.label, result))
        else:
            pictures.append(IndexedImage(file.name, file.path, file.label, file.group, file.published, *result))
    if len(unreadable) > max_unreadable_share * len(found):
        hint = "" if root.is_dir() else f" (paths in a list are relative to its folder, {root.parent})"
        raise UserError(
            f"{len(unreadable)} of {len(found)} files ({len(unreadable) / len(found):.1%}) of {root} cannot be read, "
            f"such as {_examples(unreadable)}{hint}: fix or remove them, or raise data.max_unreadable_share "
            f"(now {max_unreadable_share:g})."
        )
    conflicts = _conflicts(pictures) if conflicting_labels == "refuse" else {}
    usable = sorted((picture for picture in pictures if picture.name not in conflicts), key=lambda item: item.name)
    refused = sorted((*unreadable, *conflicts.values()), key=lambda item: item.name)
    classes = sorted({picture.label for picture in usable})
    if len(classes) < minimum_classes:
        raise UserError(
            f"{root} has usable pictures of {len(classes)} class only, at least {minimum_classes} classes are needed; "
            f"refused: {_examples(refused)}."
        )
    if refused:
        logger.warning(
            "%d of %d files below %s are not used: %s; %s in the run folder lists all",
            len(refused),
            len(found),
            root,
            _examples(refused),
            REFUSED_NAME,
        )
    return Index(root, tuple(classes), tuple(usable), tuple(refused))


def read_digests(memo: Path, found: Sequence[ListedFile]) -> dict[str, str]:
    """The digests, by name, of those of `found` that an earlier scan has decoded and that have not changed since."""
    known = _read_memo(memo)
    facts = {file.name: known.get((file.name, file.size, file.mtime_ns)) for file in found}
    return {name: each[0] for name, each in facts.items() if each is not None}


def write_refused(index: Index, path: Path) -> None:
    """Write the refused files as a CSV with the columns name, label and reason."""
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("name", "label", "reason"))
        writer.writerows((item.name, item.label, item.reason) for item in index.refused)


def _read_all(
    found: Sequence[ListedFile],
    known: Memo,
    on_pixels: OnPixels | None,
    shape: Shape | SquareFit | None,
    limits: ImageLimits,
) -> list[Facts | str]:
    """The facts of each file, or the reason why it cannot be used."""
    wanted = shape if on_pixels is not None else _SMALL
    unread = sum((file.name, file.size, file.mtime_ns) not in known for file in found)

    def read(position: int) -> Facts | str:
        file = found[position]
        if facts := known.get((file.name, file.size, file.mtime_ns)):
            return facts
        try:
            decoded = reader.read(file.path, wanted)
        except UnreadableImage as error:
            return str(error)
        if on_pixels is not None:
            on_pixels(position, decoded.pixels)
        return decoded.digest, decoded.width, decoded.height

    with ImageReader(limits) as reader, ThreadPoolExecutor(reading_processes(unread)) as pool:
        results = pool.map(read, range(len(found)))
        # No bar without a terminal, and none for a short scan.
        return list(tqdm(results, "reading pictures", len(found), unit="file", delay=2, disable=None, leave=False))


def reading_processes(files: int) -> int:
    """How many processes read this number of files at the same time."""
    return min(usable_cores(), 1 + files // _PICTURES_A_PROCESS)


def _examples(refused: Sequence[RefusedFile]) -> str:
    return "; ".join(f"{item.name} ({item.reason})" for item in refused[:3])


def _conflicts(pictures: Sequence[IndexedImage]) -> dict[str, RefusedFile]:
    """Every copy of an image that is found under several labels, by name."""
    labels = defaultdict(set)
    for picture in pictures:
        labels[picture.digest].add(picture.label)
    conflicts = {}
    for picture in pictures:
        if others := ", ".join(sorted(labels[picture.digest] - {picture.label})):
            conflicts[picture.name] = RefusedFile(
                picture.name, picture.label, f"the same picture is also under {others}"
            )
    return conflicts


def _read_memo(path: Path) -> Memo:
    """What is stored; nothing where the memo is missing, damaged or of another schema, because it can be made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != _MEMO_SCHEMA:
            return {}
        return {
            (str(name), int(size), int(mtime_ns)): (str(digest), int(width), int(height))
            for name, size, mtime_ns, digest, width, height in content["files"]
        }
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _write_memo(path: Path, memo: Memo) -> None:
    """Store a memo; where it cannot be written, warn and continue, because nothing depends on it."""
    content = {"schema": _MEMO_SCHEMA, "files": [(*key, *facts) for key, facts in memo.items()]}
    try:
        write_text_atomically(path, json.dumps(content))
    except OSError as error:
        logger.warning("%s cannot be written (%s): the pictures will be decoded again next time", path, error.strerror)
