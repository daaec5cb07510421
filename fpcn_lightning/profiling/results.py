"""What a benchmark has measured, as rows of one table."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fpcn_lightning.profiling.rounds import Spread, ratios, spread
from fpcn_lightning.report.formats import NOT_KNOWN, three_digits
from fpcn_lightning.report.text_table import TextTable

NOT_MEASURED = "not measured"
HEADINGS = ("part", "what", "median", "quartiles", "unit", "ratio", "its quartiles", "compared with", "note")


@dataclass(frozen=True)
class BenchmarkRow:
    """One row.

    Attributes:
        part: of the benchmark.
        what: was measured.
        unit: of the value.
        value: over the rounds; None where it could not be measured, as the note says.
        ratio: to `reference`, of the same rounds; above 1 is more time, more memory, or more images a second.
        reference: another row of the part.
        note: why there is no value, or what it is about.
    """

    part: str
    what: str
    unit: str
    value: Spread | None
    ratio: Spread | None = None
    reference: str | None = None
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def rates(
    part: str, seconds: dict[str, list[float]], images: int, unit: str, reference: str | None = None
) -> list[BenchmarkRow]:
    """Rows of images per second, from the seconds of each form for so many images."""
    rows = []
    for name, values in seconds.items():
        ratio = None if reference in (None, name) else ratios(seconds[str(reference)], values)
        speed = spread([images / each for each in values])
        rows.append(BenchmarkRow(part, name, unit, speed, ratio, reference if ratio else None))
    return rows


def missing(part: str, what: str, unit: str, reason: str) -> BenchmarkRow:
    """A row of something that could not be measured."""
    return BenchmarkRow(part, what, unit, None, note=reason)


def as_table(rows: Iterable[BenchmarkRow]) -> TextTable:
    """The rows for a reader."""
    text = ("part", "what", "unit", "compared with")
    kinds: dict[str, Any] = {**dict.fromkeys(text, "text"), "note": "message"}
    return TextTable(HEADINGS, [_cells(row) for row in rows], kinds)


def _cells(row: BenchmarkRow) -> Sequence[str]:
    value = (NOT_MEASURED, NOT_KNOWN) if row.value is None else _shown(row.value)
    ratio = (NOT_KNOWN, NOT_KNOWN) if row.ratio is None else _shown(row.ratio, decimals=2)
    return (row.part, row.what, *value, row.unit, *ratio, row.reference or NOT_KNOWN, row.note)


def _shown(value: Spread, decimals: int | None = None) -> tuple[str, str]:
    def text(number: float) -> str:
        return three_digits(number) if decimals is None or abs(number) >= 10 else f"{number:.{decimals}f}"

    return text(value.median), f"{text(value.low)} to {text(value.high)}"
