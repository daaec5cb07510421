"""Which images train the network, which choose the best epoch, and which are tested once.

Images that share a group, or are exact copies of each other, form one cluster, and a cluster is never divided between
splits. The assignment is stratified: clusters are assigned from the largest to the smallest, each to the split that is
furthest below its share of the cluster's classes. Where every cluster is a single image, each class is within one image
of its share in each split; otherwise within about its largest cluster. (Scikit-learn's StratifiedGroupKFold makes equal
folds, so a share of 15 % would need 20 of them, which classes of fewer than 20 clusters cannot fill.)

The order of clusters of equal size is a hash of the seed and the images' bytes: the split depends neither on the order
of files nor on their folder, and the version of a random generator cannot change it. Without groups
(`data.split.grouped=false`) the hash is of names, too, so that copies are assigned independently of each other.
"""

import csv
import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpcn_lightning.config import SplitConfig
from fpcn_lightning.data.index import SPLIT_NAMES, SPLITS, Index, IndexedImage
from fpcn_lightning.data.lists import read_list
from fpcn_lightning.data.names import class_key
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES

_SCHEMA = 1
_DROPPED = "dropped"
_COLUMNS = ("name", "label", "split", "digest", "group")
_RENAMED = {"side": "split"}  # columns by the names that earlier versions wrote

Clusters = list[list[int]]
"""Positions in `Index.pictures`, by cluster."""


@dataclass(frozen=True)
class Split:
    """Sorted positions in `Index.pictures` for each split."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    dropped: tuple[int, ...]  # not used, because a copy or a member of the group is in another published split
    fingerprint: str  # 16 hexadecimal digits; equal for equal names, digests, labels and splits


def make_split(index: Index, *, val: float, test: float, seed: int, grouped: bool = True) -> Split:
    """Split the images of an index.

    Published splits are used as they are. A split that was not published is taken from the published training split,
    in the proportion of the shares. Training images with a copy or a group member in another published split are
    dropped, and so are validation images with one in the published test split.

    Args:
        index: the images.
        val: share of the images for validation, between 0 and 1; not used where that split was published.
        test: likewise; the sum of both must be below 1.
        seed: chooses among the many equally good splits.
        grouped: keep groups and exact copies together; otherwise every image is assigned by itself.

    Raises:
        UserError: impossible shares, only some images with a published split, or a class absent from a split.
    """
    if not (0 < val < 1 and 0 < test < 1 and val + test < 1):
        raise UserError(
            f"data.split.val is {val:g} and data.split.test is {test:g}: "
            "both must be between 0 and 1, and their sum below 1, so that some pictures are left for training."
        )
    clusters = _clusters(index.pictures, grouped=grouped)
    splits = _published_splits(index.pictures, clusters)
    shares = {"train": 1 - val - test, "val": val, "test": test}
    wanted = {split: share for split, share in shares.items() if split == "train" or split not in splits}
    pool = [cluster for cluster in clusters if all(splits[position] == "train" for position in cluster)]
    # Copies have one digest, and would follow each other in the order of single images.
    keys = [picture.digest if grouped else f"{picture.digest} {picture.name}" for picture in index.pictures]
    pool.sort(key=lambda cluster: (-len(cluster), _order(seed, (keys[position] for position in cluster))))
    labels = [index.classes.index(picture.label) for picture in index.pictures]
    for cluster, split in zip(pool, _assign(pool, labels, wanted), strict=True):
        for position in cluster:
            splits[position] = split
    return _checked(index, clusters, splits)


def configured_split(index: Index, options: SplitConfig) -> Split:
    """The split that the section `data.split` asks for: from its file, or made.

    Raises:
        UserError: what `read_split` or `make_split` raises.
    """
    if options.file is not None:
        return read_split(index, Path(options.file), grouped=options.grouped)
    return make_split(index, val=options.val, test=options.test, seed=options.seed, grouped=options.grouped)


def all_test(index: Index) -> Split:
    """The split of a data set that no network is trained or chosen on: every image is in the test split."""
    splits = ["test"] * len(index.pictures)
    return Split((), (), tuple(range(len(splits))), (), _fingerprint(index.pictures, splits))


def write_split(index: Index, split: Split, path: Path) -> None:
    """Write a split as a CSV with the columns name, label, split, digest and group, one line for each image.

    The column split is train, val, test or dropped, and may be edited by hand.
    """
    names = {position: name for name in (*SPLITS, _DROPPED) for position in getattr(split, name)}
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for position, picture in enumerate(index.pictures):
            writer.writerow((picture.name, picture.label, names[position], picture.digest, picture.group or ""))


def read_split_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a file of `write_split` by column, also of one that an earlier version wrote or a user edited.

    Raises:
        UserError: the file cannot be read, lacks a column, or names an unknown split.
    """
    rows = []
    for row in read_list(path, _COLUMNS, errors=FOREIGN_NAMES, renamed=_RENAMED):
        name = row.text("split").lower()
        if name not in (*SPLIT_NAMES, _DROPPED):
            raise UserError(
                f"{row.place} puts {row.cells['name']} into the split {row.cells['split']!r}: use {', '.join(SPLITS)} "
                f"or {_DROPPED}."
            )
        rows.append({**row.cells, "split": SPLIT_NAMES.get(name, name)})
    return rows


def read_split(index: Index, path: Path, *, grouped: bool = True) -> Split:
    """Read a split that `write_split` wrote, perhaps edited since.

    Args:
        index: the images.
        path: the file.
        grouped: as in `make_split`; otherwise a cluster may be divided.

    Raises:
        UserError: what `read_split_rows` raises, or the file is about other images than the index, divides a cluster
            between splits, or leaves a split without one of the classes.
    """
    names = {picture.name for picture in index.pictures}
    forms = {unicodedata.normalize("NFC", name): name for name in names}  # file systems differ in the Unicode form
    rows = {
        name if (name := row["name"]) in names else forms.get(unicodedata.normalize("NFC", name), name): row
        for row in read_split_rows(path)
    }
    if rows.keys() != names:
        raise UserError(
            f"{path} belongs to other pictures than those of {index.root}: {min(rows.keys() ^ names)} is in one of the "
            "two only; remove the file to make a new split."
        )
    for picture in index.pictures:
        row = rows[picture.name]
        if (row["digest"], class_key(row["label"])) != (picture.digest, class_key(picture.label)):
            raise UserError(
                f"{picture.name} has changed since {path} was written: remove that file to make a new split."
            )
    clusters = _clusters(index.pictures, grouped=grouped)
    return _checked(index, clusters, [rows[picture.name]["split"] for picture in index.pictures])


def _clusters(pictures: Sequence[IndexedImage], *, grouped: bool) -> Clusters:
    """Images that share a group or digest, directly or through others (union-find); single images if not `grouped`."""
    if not grouped:
        return [[position] for position in range(len(pictures))]
    parent = list(range(len(pictures)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    first: dict[tuple[str, str], int] = {}
    for position, picture in enumerate(pictures):
        for kind, value in (("digest", picture.digest), ("group", picture.group)):
            if value is not None:
                parent[root(position)] = root(first.setdefault((kind, value), position))
    clusters = defaultdict(list)
    for position in range(len(pictures)):
        clusters[root(position)].append(position)
    return list(clusters.values())


def _published_splits(pictures: Sequence[IndexedImage], clusters: Clusters) -> list[str]:
    """The published split of each image, or dropped for a leak; train for all where none was published."""
    unknown = [picture.name for picture in pictures if picture.published is None]
    if len(unknown) == len(pictures):
        return ["train"] * len(pictures)
    if unknown:
        raise UserError(
            f"{unknown[0]} has no published split, but other pictures have one: fill the column split for all pictures "
            "or for none."
        )
    splits = [str(picture.published) for picture in pictures]
    for cluster in clusters:
        strongest = max((splits[position] for position in cluster), key=SPLITS.index)
        for position in cluster:
            if splits[position] != strongest:
                splits[position] = _DROPPED
    return splits


def _order(seed: int, keys: Iterable[str]) -> bytes:
    """A random number that depends on the seed and the images of a cluster only."""
    return hashlib.sha256(f"{seed} {min(keys)}".encode()).digest()


def _assign(clusters: Clusters, labels: Sequence[int], shares: Mapping[str, float]) -> list[str]:
    """A split for each cluster, assigned from the largest to the smallest.

    Args:
        clusters: positions, by cluster.
        labels: class number of each position.
        shares: wanted share of the images of each split, in any unit.
    """
    counts = np.zeros((len(clusters), max(labels) + 1))
    for number, cluster in enumerate(clusters):
        np.add.at(counts[number], [labels[position] for position in cluster], 1)
    parts = np.array(list(shares.values()))
    totals = counts.sum(axis=0)
    lacking = np.outer(parts / parts.sum(), totals)
    chosen = np.full(len(clusters), -1)

    def give(number: int, split: int) -> None:
        chosen[number] = split
        lacking[split] -= counts[number]

    # First a small cluster of every class for every split, or large clusters could leave a split without a class.
    for label in np.argsort((counts > 0).sum(axis=0), kind="stable").tolist():
        holders = np.flatnonzero(counts[:, label])
        for split in np.argsort(parts, kind="stable").tolist():
            free = holders[chosen[holders] < 0]
            if len(free) and split not in chosen[holders]:
                give(int(free[-1]), split)
    weights = 1 / np.maximum(totals, 1)  # a missing image matters more to a small class
    for number in np.flatnonzero(chosen < 0).tolist():
        give(number, int(np.argmax(lacking @ (counts[number] * weights))))
    names = list(shares)
    return [names[split] for split in chosen]


def _checked(index: Index, clusters: Clusters, splits: Sequence[str]) -> Split:
    """The split with these names by position, after the checks that every split must pass."""
    pictures = index.pictures
    for cluster in clusters:
        held = {splits[position]: pictures[position].name for position in cluster if splits[position] != _DROPPED}
        if len(held) > 1:
            places = " and ".join(f"{name} ({split})" for split, name in sorted(held.items()))
            raise UserError(f"{places} are copies or of one group, but in several splits: put them into one.")
    present = {(picture.label, split) for picture, split in zip(pictures, splits, strict=True)}
    for label in index.classes:
        for split in SPLITS:
            if (label, split) not in present:
                raise UserError(_too_few(label, split, pictures, clusters))
    positions = {split: tuple(np.flatnonzero(np.array(splits) == split).tolist()) for split in (*SPLITS, _DROPPED)}
    return Split(**positions, fingerprint=_fingerprint(pictures, splits))


def _too_few(label: str, split: str, pictures: Sequence[IndexedImage], clusters: Clusters) -> str:
    holding = [cluster for cluster in clusters if any(pictures[position].label == label for position in cluster)]
    total = sum(picture.label == label for picture in pictures)
    return (
        f"class {label!r} has too few pictures: {total} in {len(holding)} groups that must stay together, and none of "
        f"them in the {split} split; each of the three splits needs one, so add pictures of it or remove the class."
    )


def _fingerprint(pictures: Sequence[IndexedImage], splits: Sequence[str]) -> str:
    # Checkpoints and results of earlier versions hold fingerprints in which val was hashed as validation.
    hashed = ["validation" if split == "val" else split for split in splits]
    rows = sorted((item.name, item.digest, item.label, split) for item, split in zip(pictures, hashed, strict=True))
    return hashlib.sha256(json.dumps([_SCHEMA, rows]).encode()).hexdigest()[:16]
