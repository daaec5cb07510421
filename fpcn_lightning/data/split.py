"""Which pictures train the network, which choose the best epoch, and which are looked at once.

Pictures that share a group, or are exact copies of each other, form one cluster, and a cluster never lies on two sides.
A cut is stratified: clusters are dealt from the largest to the smallest, each to the side that is furthest from its
share of the cluster's classes. Where every cluster is a single picture, each class is within one picture of its share
on each side; otherwise within about its largest cluster. (Scikit-learn's StratifiedGroupKFold makes equal folds, so a
share of 15 % would need 20 of them, which classes of fewer than 20 clusters cannot fill.)

Which cluster comes first among equals is a hash of the seed and the pictures' bytes: the split depends neither on the
order of files nor on where they lie, and the version of a random generator cannot change it.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fpcn_lightning.data.index import FOREIGN_NAMES, SIDES, Index, IndexedImage, read_rows
from fpcn_lightning.errors import UserError

_SCHEMA = 1
_DROPPED = "dropped"
_COLUMNS = ("name", "label", "side", "digest", "group")

Clusters = list[list[int]]
"""Positions in `Index.pictures`, by cluster."""


@dataclass(frozen=True)
class Split:
    """Sorted positions in `Index.pictures` for each side."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    dropped: tuple[int, ...]  # left out, since a copy or a member of the group lies on a published side
    fingerprint: str  # 16 hexadecimal digits; equal for equal names, digests, labels and sides


def make_split(index: Index, *, validation: float, test: float, seed: int) -> Split:
    """Split the pictures of an index.

    Published sides are kept. A side that was not published is cut from the published training side, in the proportion
    to it that the shares ask for. Training pictures with a copy or a group member on another published side are
    dropped, and so are validation pictures with one on the published test side.

    Args:
        index: the pictures.
        validation: wanted share of the pictures, between 0 and 1; unused where that side was published.
        test: likewise; the two together stay below 1.
        seed: chooses among the many equally good splits.

    Raises:
        UserError: impossible shares, only some pictures with a published side, or a class absent from a side.
    """
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise UserError(
            f"data.split.validation is {validation:g} and data.split.test is {test:g}: "
            "both must lie between 0 and 1, and their sum below 1, so that something is left to train on."
        )
    clusters = _clusters(index.pictures)
    sides = _published_sides(index.pictures, clusters)
    shares = {"train": 1 - validation - test, "validation": validation, "test": test}
    cut = {side: share for side, share in shares.items() if side == "train" or side not in sides}
    pool = [cluster for cluster in clusters if all(sides[position] == "train" for position in cluster)]
    pool.sort(
        key=lambda cluster: (-len(cluster), _lot(seed, (index.pictures[position].digest for position in cluster)))
    )
    labels = [index.classes.index(picture.label) for picture in index.pictures]
    for cluster, side in zip(pool, _deal(pool, labels, cut), strict=True):
        for position in cluster:
            sides[position] = side
    return _checked(index, clusters, sides)


def all_test(index: Index) -> Split:
    """The split of a data set that nothing is trained or chosen on: every picture on the test side."""
    sides = ["test"] * len(index.pictures)
    return Split((), (), tuple(range(len(sides))), (), _fingerprint(index.pictures, sides))


def write_split(index: Index, split: Split, path: Path) -> None:
    """Write a split as a CSV with the columns name, label, side, digest and group, one line a picture.

    The side is train, validation, test or dropped, and may be edited by hand.
    """
    sides = {position: side for side in (*SIDES, _DROPPED) for position in getattr(split, side)}
    with path.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for position, picture in enumerate(index.pictures):
            writer.writerow((picture.name, picture.label, sides[position], picture.digest, picture.group or ""))


def read_split(index: Index, path: Path) -> Split:
    """Read a split that `write_split` wrote, perhaps edited since.

    Raises:
        UserError: the file cannot be read, is about other pictures than the index, names an unknown side, puts one
            cluster on two sides, or leaves a side without one of the classes.
    """
    rows = {row["name"]: row for row in read_rows(path, _COLUMNS, FOREIGN_NAMES)}
    names = {picture.name for picture in index.pictures}
    if rows.keys() != names:
        raise UserError(
            f"{path} belongs to other pictures than those of {index.root}: {min(rows.keys() ^ names)} is in one of the "
            "two only; remove the file to split anew."
        )
    for picture in index.pictures:
        row = rows[picture.name]
        if (row["digest"], row["label"]) != (picture.digest, picture.label):
            raise UserError(f"{picture.name} has changed since {path} was written: remove that file to split anew.")
        if row["side"] not in (*SIDES, _DROPPED):
            raise UserError(f"{path} puts {picture.name} on the side {row['side']!r}: use {', '.join(SIDES)}, dropped.")
    return _checked(index, _clusters(index.pictures), [rows[picture.name]["side"] for picture in index.pictures])


def _clusters(pictures: Sequence[IndexedImage]) -> Clusters:
    """Pictures tied by a shared group or digest, directly or through others (union-find)."""
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


def _published_sides(pictures: Sequence[IndexedImage], clusters: Clusters) -> list[str]:
    """The published side of each picture, or dropped for a leak; all on the training side where none was published."""
    unknown = [picture.name for picture in pictures if picture.published is None]
    if len(unknown) == len(pictures):
        return ["train"] * len(pictures)
    if unknown:
        raise UserError(
            f"{unknown[0]} has no published side while others have: fill the column split for all pictures or for none."
        )
    sides = [str(picture.published) for picture in pictures]
    for cluster in clusters:
        strongest = max((sides[position] for position in cluster), key=SIDES.index)
        for position in cluster:
            if sides[position] != strongest:
                sides[position] = _DROPPED
    return sides


def _lot(seed: int, digests: Iterable[str]) -> bytes:
    """A random number that depends on nothing but the seed and the pictures of a cluster."""
    return hashlib.sha256(f"{seed} {min(digests)}".encode()).digest()


def _deal(clusters: Clusters, labels: Sequence[int], shares: Mapping[str, float]) -> list[str]:
    """A side for each cluster, given from the largest to the smallest.

    Args:
        clusters: positions, by cluster.
        labels: class number of each position.
        shares: wanted parts of the pictures for each side, in any unit.
    """
    counts = np.zeros((len(clusters), max(labels) + 1))
    for number, cluster in enumerate(clusters):
        np.add.at(counts[number], [labels[position] for position in cluster], 1)
    parts = np.array(list(shares.values()))
    totals = counts.sum(axis=0)
    lacking = np.outer(parts / parts.sum(), totals)
    chosen = np.full(len(clusters), -1)

    def give(number: int, side: int) -> None:
        chosen[number] = side
        lacking[side] -= counts[number]

    # A small cluster for every class on every side comes first, or large clusters could leave a side without a class.
    for label in np.argsort((counts > 0).sum(axis=0), kind="stable").tolist():
        holders = np.flatnonzero(counts[:, label])
        for side in np.argsort(parts, kind="stable").tolist():
            free = holders[chosen[holders] < 0]
            if len(free) and side not in chosen[holders]:
                give(int(free[-1]), side)
    weights = 1 / np.maximum(totals, 1)  # a missing picture matters more to a small class
    for number in np.flatnonzero(chosen < 0).tolist():
        give(number, int(np.argmax(lacking @ (counts[number] * weights))))
    names = list(shares)
    return [names[side] for side in chosen]


def _checked(index: Index, clusters: Clusters, sides: Sequence[str]) -> Split:
    """The split with these sides, after a look at what every split must fulfil."""
    pictures = index.pictures
    for cluster in clusters:
        held = {sides[position]: pictures[position].name for position in cluster if sides[position] != _DROPPED}
        if len(held) > 1:
            places = " and ".join(f"{name} ({side})" for side, name in sorted(held.items()))
            raise UserError(f"{places} are copies or of one group, but lie on several sides: give them one side.")
    present = {(picture.label, side) for picture, side in zip(pictures, sides, strict=True)}
    for label in index.classes:
        for side in SIDES:
            if (label, side) not in present:
                raise UserError(_too_few(label, side, pictures, clusters))
    on = {side: tuple(np.flatnonzero(np.array(sides) == side).tolist()) for side in (*SIDES, _DROPPED)}
    return Split(**on, fingerprint=_fingerprint(pictures, sides))


def _too_few(label: str, side: str, pictures: Sequence[IndexedImage], clusters: Clusters) -> str:
    holding = [cluster for cluster in clusters if any(pictures[position].label == label for position in cluster)]
    total = sum(picture.label == label for picture in pictures)
    return (
        f"class {label!r} has too few pictures: {total} in {len(holding)} groups that must stay together, and none of "
        f"them on the {side} side; each of the three sides needs one, so add pictures of it or remove the class."
    )


def _fingerprint(pictures: Sequence[IndexedImage], sides: Sequence[str]) -> str:
    rows = sorted((item.name, item.digest, item.label, side) for item, side in zip(pictures, sides, strict=True))
    return hashlib.sha256(json.dumps([_SCHEMA, rows]).encode()).hexdigest()[:16]
