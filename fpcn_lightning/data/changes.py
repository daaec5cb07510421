"""What has changed in a data set since a run wrote its `split.csv` and `refused.csv`, without decoding its images."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.images import UnreadableImage, read_file
from fpcn_lightning.data.index import ListedFile
from fpcn_lightning.data.lists import read_list
from fpcn_lightning.data.preparation import known_digests, list_images
from fpcn_lightning.data.scan import REFUSED_NAME
from fpcn_lightning.data.split import read_split_rows
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES
from fpcn_lightning.runs.split_file import SPLIT_NAME

Rows = Mapping[str, Mapping[str, str]]  # by the names of their images


def changes(config: DataConfig, folder: Path) -> list[str]:
    """Each kind of change, with the number of images and an example; empty where nothing has changed.

    Names, labels, groups and splits are compared, and contents by their hash, which is computed only where no earlier
    scan has stored it. A file that was refused counts as changed only when its name or its label is another.

    Args:
        config: the section `data` of the run.
        folder: of the run.

    Raises:
        UserError: the data set, or a file of the run, cannot be read.
    """
    used: Rows = {row["name"]: row for row in read_split_rows(folder / SPLIT_NAME)}
    listed = read_list(folder / REFUSED_NAME, ("name", "label"), errors=FOREIGN_NAMES)
    refused: Rows = {row.cells["name"]: row.cells for row in listed}
    before = {**used, **refused}
    now = {file.name: file for file in list_images(config)}
    kept = [name for name in now if name in before]
    wanted = _wanted_splits(config, [now[name] for name in kept if name in used])
    differing = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "given another label": [name for name in kept if now[name].label != before[name]["label"]],
        "given another group": [
            name for name in kept if name in used and (now[name].group or "") != used[name].get("group", "")
        ],
        "put into another split": [
            name for name, split in wanted.items() if used[name]["split"] not in (split, "dropped")
        ],
    }
    found = [_counted(kind, names) for kind, names in differing.items() if names]
    if not found:
        rewritten = list(_rewritten(config, list(now.values()), used))
        found = [_counted("changed", rewritten)] if rewritten else []
    return found


def _wanted_splits(config: DataConfig, files: Sequence[ListedFile]) -> dict[str, str]:
    """The splits of images, by name, that a person has chosen."""
    if config.split.file is not None:
        rows = {row["name"]: row["split"] for row in read_split_rows(Path(config.split.file))}
        return {file.name: rows[file.name] for file in files if file.name in rows}
    # Where a split was not published, it is taken from that of training.
    return {file.name: file.published for file in files if file.published not in (None, "train")}


def _rewritten(config: DataConfig, listed: Sequence[ListedFile], used: Rows) -> Iterator[str]:
    """The names of the images whose content is another."""
    known = known_digests(config, listed)

    def digest(file: ListedFile) -> str:
        try:
            return known.get(file.name) or hashlib.sha1(read_file(file.path), usedforsecurity=False).hexdigest()
        except UnreadableImage:
            return ""

    files = [file for file in listed if file.name in used]
    with ThreadPoolExecutor() as pool:
        for file, found in zip(files, pool.map(digest, files), strict=True):
            if found != used[file.name]["digest"]:
                yield file.name


def _counted(kind: str, names: Sequence[str]) -> str:
    number = f"{len(names)} images were" if len(names) > 1 else "1 image was"
    return f"{number} {kind} ({names[0]}{', ...' if len(names) > 1 else ''})"
