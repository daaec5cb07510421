"""Cross-validation: runs that tested different parts of one set of pictures are counted as one test of all of them."""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.results import Metrics, Run
from fpcn_lightning.runs.split_file import read_split

OF_A_FOLD = ("data fingerprint", "data.root", "data.split.")
"""Beginnings of the keys in which the folds of a cross-validation may differ, besides the seed."""


def are_folds(runs: Sequence[Run]) -> bool:
    """Whether runs are the folds of a cross-validation: they have the same pictures, and no two test one of them."""
    prints = [result["data"]["fingerprint"] for _, result in runs if result["data"]]
    if len(runs) < 2 or len(set(prints)) < len(runs):
        return False
    try:
        splits = [read_split(folder) for folder, _ in runs]
    except UserError:
        return False
    if any(split.keys() != splits[0].keys() for split in splits):
        return False
    tested = [{name for name, part in split.items() if part == "test"} for split in splits]
    return all(mine.isdisjoint(other) for mine, other in combinations(tested, 2))


def summed_confusion(metrics: Sequence[Metrics]) -> list[list[int]]:
    """The counts of all test pictures: true class in rows, predicted class in columns."""
    matrices = [each["confusion"] for each in metrics]
    return [[sum(cells) for cells in zip(*rows, strict=True)] for rows in zip(*matrices, strict=True)]


def macro_f1(confusion: Sequence[Sequence[int]]) -> float:
    """The mean over the classes that occur of the F1 score, 0..1."""
    right = [counts[label] for label, counts in enumerate(confusion)]
    named = [sum(counts) for counts in zip(*confusion, strict=True)]
    either = [sum(counts) + also for counts, also in zip(confusion, named, strict=True)]
    return fmean(2 * hits / total for hits, total in zip(right, either, strict=True) if total)
