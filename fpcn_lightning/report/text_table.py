"""Tables of cells that are already text, as Markdown and as LaTeX; the page shows the same tables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "text", "message"]
"""What stands in a column: numbers are set to the right, text and messages to the left; messages may be wrapped."""

_MARKDOWN = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
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


@dataclass(frozen=True)
class TextTable:
    """A table for a reader.

    Attributes:
        headings: of the C columns.
        lines: C cells each.
        kinds: of the columns by heading; those that are not named hold numbers.
    """

    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    kinds: Mapping[str, Kind]

    def kind(self, column: int) -> Kind:
        """The kind of a column by its position."""
        return self.kinds.get(self.headings[column], "number")


def markdown_text(text: str) -> str:
    """A text as Markdown that shows it: no HTML, no link, no line break."""
    shown = "".join(_MARKDOWN.get(character, character) for character in text)
    return " ".join(shown.replace("](", r"]\(").splitlines())


def to_markdown(table: TextTable) -> str:
    """A Markdown table, padded so that it also reads well as plain text."""
    headings, *lines = (
        [markdown_text(cell).replace("|", r"\|") for cell in line] for line in (table.headings, *table.lines)
    )
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    rule = ["-" * width for width in widths]
    padded = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (headings, rule, *lines)
    )
    return "".join(f"| {line} |\n" for line in padded)


def to_latex(table: TextTable, notes: Sequence[str]) -> str:
    """A LaTeX tabular for the packages booktabs and textcomp, with notes below it; text left, numbers right."""
    is_number = [table.kind(column) == "number" for column in range(len(table.headings))]
    body = [
        [_latex_number(cell) if number else _latex(cell) for cell, number in zip(line, is_number, strict=True)]
        for line in table.lines
    ]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in is_number)}}}",
            r"\toprule",
            " & ".join(map(_latex, table.headings)) + r" \\",
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
