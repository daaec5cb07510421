"""Accuracy by class, from a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fpcn_lightning.intervals import wilson_interval
from fpcn_lightning.report.formats import NOT_KNOWN, percent
from fpcn_lightning.report.text_table import Kind, TextTable

_HEADINGS = ("class", "pictures", "recognised %", "95 % interval", "right when predicted %", "most often taken for")


def class_tables(matrix: ArrayLike, classes: Sequence[str], most: int) -> tuple[TextTable, TextTable]:
    """The `most` classes with the lowest accuracy, the worst first, and the further classes.

    Args:
        matrix: (classes, classes) counts, true class in rows, predicted class in columns. Classes without pictures are
            left out.
        classes: names in label order.
        most: lines of the first table.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    present = np.flatnonzero(counts.sum(axis=1))
    share = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    order = present[np.argsort(share[present], kind="stable")]
    lines = [_line(counts, classes, int(number)) for number in order]
    kinds: dict[str, Kind] = {"class": "text", _HEADINGS[-1]: "text"}
    first, further = (TextTable(_HEADINGS, part, kinds) for part in (lines[:most], lines[most:]))
    return first, further


def _line(counts: np.ndarray, classes: Sequence[str], number: int) -> list[str]:
    total, right, named = counts[number].sum(), counts[number, number], counts[:, number].sum()
    wrong = counts[number].copy()
    wrong[number] = 0
    other = int(wrong.argmax())
    low, high = wilson_interval(int(right), int(total))
    return [
        classes[number],
        f"{total:,}",
        percent(right / total),
        f"[{percent(low)}, {percent(high)}]",
        percent(right / named) if named else NOT_KNOWN,
        f"{classes[other]} ({wrong[other]:,})" if wrong[other] else NOT_KNOWN,
    ]
