"""Rows as a LaTeX table."""

import re
from collections.abc import Sequence

from fpcn_lightning.report.footnotes import footnotes
from fpcn_lightning.report.formats import TEXT_HEADINGS, cells
from fpcn_lightning.report.rows import Row

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


def to_latex(rows: Sequence[Row]) -> str:
    """Format rows as a LaTeX tabular for the packages booktabs and textcomp; text columns left, numbers right.

    Remarks about rows follow below it.
    """
    return latex_table(*cells(rows), footnotes(rows))


def latex_table(headings: Sequence[str], lines: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """Cells as a tabular for the same packages, with notes below it."""
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
            *(rf"\par{{\footnotesize {_latex(note)}\par}}" for note in notes),
            "",
        ]
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_number(text: str) -> str:
    return re.sub(r"-(?=\d)", "$-$", _latex(text))
