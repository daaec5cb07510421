"""Exact and near copies, the groups that they form, and what is wrong with them: other labels, other splits."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fpcn_lightning.audit.findings import Finding, Kind, Severity
from fpcn_lightning.audit.matching import Match
from fpcn_lightning.data.index import IndexedImage
from fpcn_lightning.data.masks import OBJECT, REGION_COLUMN
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES

GROUPS_NAME = "groups.csv"
_WHOLE = 0.97  # a larger share of height and width is no crop


@dataclass(frozen=True)
class Copy:
    """Two images that are one photograph.

    Attributes:
        first: position in the index.
        second: likewise.
        agreement: 1 for equal files, otherwise the correlation of details.
        how: what makes the second one different from the first, or the other way round, in words.
        exact: the files are equal.
    """

    first: int
    second: int
    agreement: float
    how: str
    exact: bool


def exact_copies(pictures: Sequence[IndexedImage]) -> list[Copy]:
    """The first of equal files with each of the others."""
    places = defaultdict(list)
    for position, picture in enumerate(pictures):
        places[picture.digest].append(position)
    return [Copy(same[0], other, 1.0, "the files are equal", True) for same in places.values() for other in same[1:]]


def near_copies(matches: Iterable[Match], positions: Sequence[int]) -> list[Copy]:
    """Verified matches as copies.

    Args:
        matches: of images by number.
        positions: in the index, by that number.
    """
    return [
        Copy(positions[match.scene], positions[match.crop], match.agreement, _in_words(match), False)
        for match in matches
    ]


def _in_words(match: Match) -> str:
    words = []
    if match.turn >= 4:
        words.append("mirrored")
    if match.turn % 4:
        words.append(f"turned by {90 * (match.turn % 4)} degrees")
    if min(match.height, match.width) < _WHOLE:
        height, width = (round(100 * min(1.0, share)) for share in (match.height, match.width))
        words.append(f"{width} % of the width and {height} % of the height")
    return f"the same photograph, {', '.join(words)}" if words else "the same photograph, stored anew"


def components(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` items the number of its group: items of a pair are in one group, directly or through others.

    A group has the number of its first item.
    """
    ends = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbers: list[int] = first[inverse].tolist()
    return numbers


def groups_of(pictures: Sequence[IndexedImage], copies: Iterable[Copy]) -> list[int]:
    """The group of each image: copies are in one, and so are images of one group that the data set names."""
    first: dict[str, int] = {}
    named = [
        (first.setdefault(picture.group, position), position)
        for position, picture in enumerate(pictures)
        if picture.group is not None
    ]
    return components(len(pictures), [*((copy.first, copy.second) for copy in copies), *named])


def findings_of(
    copies: Iterable[Copy], pictures: Sequence[IndexedImage], splits: Mapping[int, str], published: bool
) -> list[Finding]:
    """A finding for each pair, and further ones for pairs with two labels and for pairs in two splits.

    Args:
        copies: all pairs.
        pictures: of the index.
        splits: name of the split by position; without images that are in none.
        published: whether the splits were published with the data set.
    """
    found = []
    for copy in copies:
        one, other = pictures[copy.first], pictures[copy.second]
        names = {"image": one.name, "other": other.name, "label": one.label, "other_label": other.label}
        kind = Kind.EXACT_COPY if copy.exact else Kind.NEAR_COPY
        found.append(Finding(kind, Severity.NOTE, copy.how, **names, score=copy.agreement))
        if one.label != other.label:
            detail = f"{copy.how}: one label of the two is wrong"
            found.append(Finding(Kind.CONFLICT, Severity.SERIOUS, detail, **names, score=copy.agreement))
        sides = [splits.get(copy.first), splits.get(copy.second)]
        if None not in sides and sides[0] != sides[1]:
            whose = "the published split" if published else "a random split"
            detail = f"{copy.how}: {whose} puts them into {sides[0]} and {sides[1]}"
            found.append(Finding(Kind.ACROSS_SPLITS, Severity.SERIOUS, detail, **names, score=copy.agreement))
    return found


def write_groups(
    pictures: Sequence[IndexedImage], groups: Sequence[int], marked: Mapping[str, Mapping[str, Path]], path: Path
) -> None:
    """Write a list of the images with a group for those that belong together; it can be used as `data.root`.

    Args:
        pictures: of the index.
        groups: of each of them, by the position of its first image.
        marked: files of masks and regions by kind and name of the image, as `RockDataModule.marked`.
        path: of the CSV. Its paths are absolute.
    """
    members = defaultdict(list)
    for position, group in enumerate(groups):
        members[group].append(position)
    kinds = {kind: files for kind, files in marked.items() if files}
    columns = {kind: "mask" if kind == OBJECT else f"{REGION_COLUMN}{kind}" for kind in kinds}
    published = any(picture.published for picture in pictures)
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("path", "label", "group", *(["split"] if published else []), *columns.values()))
        for picture, group in zip(pictures, groups, strict=True):
            name = _group_name(pictures, members[group])
            split = [picture.published or ""] if published else []
            marks = [files.get(picture.name, "") for files in kinds.values()]
            writer.writerow((picture.path, picture.label, name, *split, *marks))


def _group_name(pictures: Sequence[IndexedImage], members: Sequence[int]) -> str:
    """The name that the data set gives to one of the members; else that of the first; empty for a single image."""
    given = [group for member in members if (group := pictures[member].group) is not None]
    if given:
        return given[0]
    return f"copies of {pictures[members[0]].name}" if len(members) > 1 else ""
