"""How many images each class has."""

from collections.abc import Mapping

from fpcn_lightning.audit.findings import Finding, Kind, Severity

_FEW = 20  # images: the test split of a class then has four
_UNEQUAL = 10  # times as many images of the largest class as of the smallest


def findings_of(counts: Mapping[str, int]) -> list[Finding]:
    """Warnings about classes with few images, and about very unequal ones.

    Args:
        counts: number of different images by class.
    """
    found = [
        Finding(Kind.BALANCE, Severity.WARNING, f"only {count} different images: its numbers are rough", label=label)
        for label, count in counts.items()
        if count < _FEW
    ]
    smallest, largest = (choose(counts, key=lambda label: counts[label]) for choose in (min, max))
    ratio = counts[largest] / max(1, counts[smallest])
    if ratio > _UNEQUAL:
        detail = (
            f"{largest} has {counts[largest]:,} different images, {smallest} {counts[smallest]:,}: accuracy says "
            "little about the small class, look at the recall of each class"
        )
        found.append(Finding(Kind.BALANCE, Severity.WARNING, detail, label=largest, other_label=smallest, score=ratio))
    return found
