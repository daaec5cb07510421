"""Cross-validation: runs that tested different parts of one set of pictures are counted as one test of all of them."""

from collections.abc import Sequence
from itertools import chain
from statistics import fmean

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.results import Metrics, Run
from fpcn_lightning.runs.split_file import split_pictures

OF_A_FOLD = frozenset(("data fingerprint", "data.root", "data.split.seed", "data.split.file"))
"""The keys in which the folds of a cross-validation may differ, besides the seed."""


def are_folds(runs: Sequence[Run]) -> bool:
    """Whether runs are the folds of a cross-validation: of the same pictures and classes each is tested by one run.

    Students with teachers are none: each fold needs a teacher of its own, and their configs differ in it.
    """
    facts = [result["data"] for _, result in runs if result["data"]]
    if len(runs) < 2 or len({each["fingerprint"] for each in facts}) < len(runs):
        return False
    if any(each["classes"] != facts[0]["classes"] for each in facts):
        return False
    try:
        folds = [split_pictures(folder) for folder, _ in runs]
    except UserError:
        return False
    known = [{(name, each.label, each.digest) for name, each in fold.items()} for fold in folds]
    tested = [name for fold in folds for name, each in fold.items() if each.split == "test"]
    used = {name for name, each in chain(*(fold.items() for fold in folds)) if each.split != "dropped"}
    return all(each == known[0] for each in known) and len(tested) == len(used) and set(tested) == used


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
