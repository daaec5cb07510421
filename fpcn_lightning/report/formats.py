"""Rows as text: cells for a reader, and Markdown, CSV and LaTeX made of them."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, fields

from fpcn_lightning.report.rows import Row

NOT_KNOWN = "-"
TEXT_HEADINGS = frozenset({"experiment", "variant", "reading", "seeds", "status"})
# Where no row has anything to say under these, the column is left out.
_OPTIONAL_HEADINGS = ("95 % interval", "difference", "paper %")
_LATEX = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "…": r"\dots{}",
    # A cell that begins with a bracket would be read as the option of the line break before it.
    "[": "{[}",
    "]": "{]}",
}


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of each row for a reader: percent, with no more digits than the error carries.

    The experiment is left out where there is only one, and so are intervals, differences and the paper's values where
    no row has them.
    """
    lines = [_line(row) for row in rows]
    headings = [
        heading
        for heading in _line(Row("", "", None, (), ""))
        if not (heading in _OPTIONAL_HEADINGS and all(line[heading] == NOT_KNOWN for line in lines))
        and not (heading == "experiment" and len({row.experiment for row in rows}) == 1)
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


def to_latex(rows: Sequence[Row]) -> str:
    """Format rows as a LaTeX tabular for the packages booktabs and textcomp; text columns left, numbers right."""
    headings, lines = cells(rows)
    columns = "".join("l" if heading in TEXT_HEADINGS else "r" for heading in headings)
    body = [
        [
            _latex(cell) if heading in TEXT_HEADINGS else _latex_number(cell)
            for heading, cell in zip(headings, line, strict=True)
        ]
        for line in lines
    ]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_latex, headings)) + r" \\",
            r"\midrule",
            *(" & ".join(line) + r" \\" for line in body),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def percent(fraction: float | None, decimals: int = 1) -> str:
    """A share of one in percent, without the sign of percent."""
    return NOT_KNOWN if fraction is None else f"{100 * fraction:.{decimals}f}"


def with_interval(value: float | None, low: float | None, high: float | None, decimals: int = 1) -> str:
    """A difference of shares in points of percent, signed, and its interval."""
    if value is None:
        return NOT_KNOWN
    signed = f"{100 * value:+.{decimals}f}"
    return signed if low is None else f"{signed} [{percent(low, decimals)}, {percent(high, decimals)}]"


def _line(row: Row) -> dict[str, str]:
    decimals = _decimals(row.accuracy_standard_error)
    accuracy = percent(row.accuracy, decimals)
    if row.accuracy_standard_error is not None:
        accuracy += f" ± {percent(row.accuracy_standard_error, decimals)}"
    ends = (percent(row.accuracy_low, decimals), percent(row.accuracy_high, decimals))
    is_reference = row.reference == row.variant and row.accuracy_low is not None
    difference = with_interval(row.difference, row.difference_low, row.difference_high, decimals)
    return {
        "experiment": row.experiment,
        "variant": row.variant,
        "reading": row.reading or NOT_KNOWN,
        "seeds": " ".join(map(str, row.seeds)),
        "accuracy % ± binomial SE": accuracy,
        "95 % interval": NOT_KNOWN if row.accuracy_low is None else f"[{ends[0]}, {ends[1]}]",
        "difference": "reference" if is_reference else difference,
        "paper %": percent(row.paper),
        "SD over seeds": percent(row.accuracy_deviation, _decimals(row.accuracy_deviation)),
        "macro-F1 %": percent(row.macro_f1, decimals),
        "parameters": NOT_KNOWN if row.parameters is None else f"{row.parameters:,}",
        "GMAC": NOT_KNOWN if row.gmac is None else f"{row.gmac:.3g}",
        "seconds": NOT_KNOWN if row.seconds is None else f"{row.seconds:.{0 if row.seconds >= 10 else 1}f}",
        "status": f"{row.status}: {_first_line(row.error)}" if row.error else row.status,
    }


def _decimals(error: float | None) -> int:
    # An error of ten points or more leaves nothing to say behind the decimal point.
    return 0 if error is not None and error >= 0.0995 else 1


def _first_line(message: str, length: int = 80) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= length else line[: length - 1] + "…"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_number(text: str) -> str:
    return re.sub(r"-(?=\d)", "$-$", _latex(text))
