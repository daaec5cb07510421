"""What an audit found, one finding a row, and its table."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fpcn_lightning.data.names import escaped
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES, formula_free, path_text

FINDINGS_NAME = "audit.csv"
_COLUMNS = ("kind", "severity", "image", "other image", "class", "other class", "score", "detail")


class Severity(StrEnum):
    """What a finding means for the numbers of a training."""

    SERIOUS = "serious"  # they would be wrong
    WARNING = "warning"  # they may mislead
    NOTE = "note"  # good to know


class Kind(StrEnum):
    """What was found."""

    CONFLICT = "conflicting labels"
    ACROSS_SPLITS = "copies across splits"
    UNREADABLE_SHARE = "share of unreadable files"
    NO_SPLIT = "no split"
    CUE = "cue"
    LABEL_ERROR = "likely label error"
    BALANCE = "class balance"
    UNREADABLE = "unreadable file"
    SUSPICIOUS = "suspicious file"
    EXACT_COPY = "exact copy"
    NEAR_COPY = "near copy"
    SKIPPED = "skipped check"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        image: name of the image, relative to the root; empty where the finding is about a class or the whole data set.
        other: that of the other image of a pair.
        label: class of the image, or the class that the finding is about.
        other_label: class of the other image, or the class that is suggested.
        score: what it was decided by; `detail` says what it is. None where there is no number.
        detail: one sentence.
    """

    kind: Kind
    severity: Severity
    detail: str
    image: str = ""
    other: str = ""
    label: str = ""
    other_label: str = ""
    score: float | None = None


def write_findings(findings: Iterable[Finding], path: Path) -> None:
    """Write a CSV with a row for each finding; no cell begins with a sign that spreadsheets read as a formula."""
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for item in findings:
            score = "" if item.score is None else f"{item.score:.4f}"
            names = [path_text(escaped(name)) for name in (item.image, item.other)]
            detail = " ".join(escaped(item.detail).split())
            cells = (item.kind, item.severity, *names, item.label, item.other_label, score, detail)
            writer.writerow(map(formula_free, cells))
