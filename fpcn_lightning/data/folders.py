"""Finds the pictures below a folder: one walk for training and for `fpcn`.

Hidden entries, and what an operating system, a network storage or a tool creates by itself, are skipped and counted.
Links to folders are followed; each real folder is read once.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fpcn_lightning.data.images import SUFFIXES
from fpcn_lightning.data.names import escaped

logger = logging.getLogger(__name__)

SYSTEM_NAMES = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@tmp", "@sharebin"),  # Synology
        *("@recycle", "@recently-snapshot", "@transcode"),  # QNAP
        *("$recycle.bin", "recycler", "recycled", "system volume information"),  # Windows
        *("found.000", "thumbs.db", "ehthumbs.db", "desktop.ini"),
        *("__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder"),  # macOS
        *("lost+found", "__pycache__"),
    )
)
"""Names, in lower case, of folders and files that are not a user's.

Hidden ones, which begin with a dot, are not listed: .@__thumb, .thumbnails, .DS_Store, ._* (AppleDouble), .Trash-1000,
.ipynb_checkpoints, .git and all others.
"""

_PREFIXES = (".", "synophoto_thumb", "synofile_thumb")  # Synology's thumbnails may have been copied out of @eaDir


def is_system(name: str) -> bool:
    """Whether an entry of a folder is hidden, or was created by a system or a tool."""
    folded = name.casefold()
    return folded in SYSTEM_NAMES or folded.startswith(_PREFIXES)


class Skipped:
    """Counts what walks leave out."""

    def __init__(self) -> None:
        self._paths: dict[str, list[Path]] = defaultdict(list)

    def add(self, reason: str, path: Path) -> None:
        """Count an entry that is left out."""
        self._paths[reason].append(path)

    def counts(self) -> dict[str, int]:
        """How many entries were left out, by reason."""
        return {reason: len(paths) for reason, paths in self._paths.items()}

    def log(self, root: Path) -> None:
        """Write one line about everything that was left out below `root`, if there is anything."""
        if self._paths:
            parts = [
                f"{len(paths)} {reason} (such as {escaped(os.path.relpath(min(paths), root))})"
                for reason, paths in sorted(self._paths.items())
            ]
            logger.warning("skipped below %s: %s", escaped(str(root)), "; ".join(parts))


HIDDEN, REPEATED = "hidden or system entries", "folders that are read elsewhere already"
NO_FILE, CLOSED = "links, pipes or devices without a file", "folders that cannot be opened"


def subfolders(folder: Path, skipped: Skipped) -> list[Path]:
    """The folders in a folder, links to folders included, sorted; links that lead back to the folder are skipped."""
    return sorted(entry.path for entry in _entries(folder, skipped) if entry.is_folder)


def picture_files(folder: Path, skipped: Skipped, *, recursive: bool = True) -> list[Path]:
    """The files below a folder that have the suffix of a picture, sorted.

    Args:
        folder: where to begin; its own name may be hidden.
        skipped: counts what is left out.
        recursive: include the folders in it. Links to folders are followed after all other folders, so that a file
            which can be reached without a link keeps its path.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    pending, links = [folder], list[Path]()
    while pending or links:
        place = pending.pop() if pending else links.pop(0)
        try:
            status = place.stat()
        except OSError:
            skipped.add(CLOSED, place)
            continue
        if (status.st_dev, status.st_ino) in seen:
            skipped.add(REPEATED, place)
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in _entries(place, skipped, start=folder):
            if entry.is_folder:
                if recursive:
                    (links if entry.is_link else pending).append(entry.path)
            elif entry.path.suffix.lower() not in SUFFIXES:
                continue
            elif entry.is_file:
                found.append(entry.path)
            else:
                skipped.add(NO_FILE, entry.path)
    return sorted(found)


class _Entry(NamedTuple):
    path: Path
    is_link: bool
    is_folder: bool
    is_file: bool


def _entries(folder: Path, skipped: Skipped, start: Path | None = None) -> Iterator[_Entry]:
    """The entries of a folder, sorted by name, without those to be skipped; `start` is where the walk began."""
    origin = Path(os.path.realpath(start or folder))
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        skipped.add(CLOSED, folder)
        return
    for entry in entries:
        path, is_link = Path(entry.path), entry.is_symlink()
        # The methods of an entry and of a path raise errors for some links; these two functions never do.
        is_folder = os.path.isdir(path) if is_link else entry.is_dir(follow_symlinks=False)  # noqa: PTH112
        is_file = os.path.isfile(path) if is_link else entry.is_file(follow_symlinks=False)  # noqa: PTH113
        if is_system(entry.name):
            if is_folder or path.suffix.lower() in SUFFIXES:
                skipped.add(HIDDEN, path)
        elif is_folder and is_link and origin.is_relative_to(os.path.realpath(path)):
            skipped.add(REPEATED, path)
        else:
            yield _Entry(path, is_link, is_folder, is_file)
