"""Rows as text: cells for a reader, and Markdown and CSV made of them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from fpcn_lightning.report.footnotes import marks
from fpcn_lightning.report.rows import Row

NOT_KNOWN = "-"
NEVER = "never"
TEXT_HEADINGS = frozenset({"experiment", "variant", "group", "side", "inference_mode", "seeds", "status"})
# Headings of columns that are always there: any other is left out where no row has anything to say under it.
_LASTING_HEADINGS = frozenset(
    {
        "variant",
        "inference_mode",
        "seeds",
        "accuracy % ± binomial SE",
        "SD over seeds",
        "macro-F1 %",
        "parameters",
        "GMAC",
        "seconds",
        "status",
    }
)


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of each row for a reader: percent, with no more digits than the error carries.

    The experiment is left out where there is only one, and so is what not every table has, such as intervals and the
    paper's values, where no row has it. Accuracies that are to be reached have a column each.
    """
    reaches = sorted({row.reach for row in rows if row.reach is not None})
    lines = [_line(row, mark, reaches) for row, mark in zip(rows, marks(rows), strict=True)]
    headings = [
        heading
        for heading in _line(Row("", "", None, (), ""), None, reaches)
        if _is_shown(heading, rows, {line[heading] for line in lines})
    ]
    return headings, [[line[heading] for heading in headings] for line in lines]


def to_markdown(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table."""
    return markdown_table(*cells(rows))


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Cells as a Markdown table, padded so that it also reads well as plain text."""
    lines = [[cell.replace("|", r"\|") for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    rule = ["-" * width for width in widths]
    padded = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (headings, rule, *lines)
    )
    return "".join(f"| {line} |\n" for line in padded)


def to_csv(rows: Sequence[Row]) -> str:
    """Format rows as CSV for other programs: columns are the attributes of `Row`, fractions in 0..1, nothing rounded.

    Seeds are separated by spaces; what is not known is an empty cell.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "seeds": " ".join(map(str, row.seeds))} for row in rows)
    return buffer.getvalue()


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A share of one in percent, without the sign of percent."""
    # A zero has no sign, whatever it was rounded from.
    return NOT_KNOWN if fraction is None else f"{round(100 * fraction, decimals) + 0.0:.{decimals}f}"


def with_interval(value: float | None, low: float | None, high: float | None, decimals: int = 1) -> str:
    """A difference of shares in points of percent, signed, and its interval."""
    if value is None:
        return NOT_KNOWN
    signed = f"{round(100 * value, decimals) + 0.0:+.{decimals}f}"
    return signed if low is None else f"{signed} [{percent(low, decimals)}, {percent(high, decimals)}]"


def epochs_heading(reach: float) -> str:
    """What stands above numbers of epochs to reach an accuracy, 0..1."""
    return f"epochs to {100 * reach:g} %"


def epochs_cell(row: Row) -> str:
    """How many epochs a row took to reach the accuracy, and how many of its seeds did where not all did."""
    if row.seeds_that_reach is None:
        return NOT_KNOWN
    if row.epochs_to_reach is None:
        return NEVER
    epochs = f"{round(row.epochs_to_reach, 1):g}"
    return epochs if row.seeds_that_reach == len(row.seeds) else f"{row.seeds_that_reach} of {len(row.seeds)}: {epochs}"


def accuracy_cell(row: Row) -> str:
    """The accuracy in percent, with the binomial standard error of one test set where there is one."""
    decimals = _decimals(row.accuracy_standard_error)
    accuracy = percent(row.accuracy, decimals)
    if row.accuracy_standard_error is None:
        return accuracy
    return f"{accuracy} ± {percent(row.accuracy_standard_error, decimals)}"


def difference_cell(row: Row) -> str:
    """The difference to the reference in points of percent with its interval; the reference says that it is one."""
    if row.reference == row.variant and row.accuracy_low is not None:
        return "baseline" if row.group else "reference"
    decimals = _decimals(row.accuracy_standard_error)
    return with_interval(row.difference, row.difference_low, row.difference_high, decimals)


def parameters_cell(row: Row) -> str:
    """The number of parameters, in full."""
    return NOT_KNOWN if row.parameters is None else f"{row.parameters:,}"


def three_digits(number: float | None) -> str:
    """Three digits at least, no less than whole numbers, and no powers of ten."""
    if number is None:
        return NOT_KNOWN
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _is_shown(heading: str, rows: Sequence[Row], column: set[str]) -> bool:
    if heading == "experiment":
        return len({row.experiment for row in rows}) != 1
    return heading in _LASTING_HEADINGS or not column <= {NOT_KNOWN}


def _line(row: Row, mark: str | None, reaches: Sequence[float]) -> dict[str, str]:
    decimals = _decimals(row.accuracy_standard_error)
    ends = (percent(row.accuracy_low, decimals), percent(row.accuracy_high, decimals))
    difference = difference_cell(row)
    at_variant, at_paper = (mark, None) if row.paper is None else (None, mark)
    return {
        "experiment": row.experiment,
        "variant": _marked(row.variant, at_variant),
        "group": row.group or NOT_KNOWN,
        "side": row.side or NOT_KNOWN,
        "inference_mode": row.inference_mode or NOT_KNOWN,
        "seeds": " ".join(map(str, row.seeds)),
        "accuracy % ± binomial SE": accuracy_cell(row),
        "95 % interval": NOT_KNOWN if row.accuracy_low is None else f"[{ends[0]}, {ends[1]}]",
        "difference": NOT_KNOWN if row.group else difference,
        "difference to the baseline": difference if row.group else NOT_KNOWN,
        "paper %": _marked(percent(row.paper), at_paper),
        "SD over seeds": percent(row.accuracy_deviation, _decimals(row.accuracy_deviation)),
        **{epochs_heading(reach): epochs_cell(row) if row.reach == reach else NOT_KNOWN for reach in reaches},
        "macro-F1 %": percent(row.macro_f1, decimals),
        "parameters": parameters_cell(row),
        "GMAC": three_digits(row.gmac),
        "ms": three_digits(row.milliseconds),
        "training GMAC": three_digits(row.training_gmac),
        "seconds": NOT_KNOWN if row.seconds is None else f"{row.seconds:.{0 if row.seconds >= 10 else 1}f}",
        "images/s training": three_digits(row.training_images_per_second),
        "images/s inference": three_digits(row.inference_images_per_second),
        "status": f"{row.status}: {_first_line(row.error)}" if row.error else row.status,
    }


def _marked(cell: str, mark: str | None) -> str:
    return f"{cell} {mark}" if mark else cell


def _decimals(error: float | None) -> int:
    # An error of ten points or more leaves nothing to say behind the decimal point.
    return 0 if error is not None and error >= 0.0995 else 1


def _first_line(message: str, length: int = 80) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= length else line[: length - 1] + "…"
