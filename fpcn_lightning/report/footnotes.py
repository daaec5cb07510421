"""What must be said about single rows of a table: letters lead from a row to its remark below."""

from collections.abc import Iterator, Sequence
from itertools import count, product
from string import ascii_lowercase

from fpcn_lightning.report.rows import Row


def marks(rows: Sequence[Row]) -> list[str | None]:
    """A letter in brackets for each row with a remark, in their order: (a), (b), ... (z), (aa)."""
    letters = _letters()
    return [f"({next(letters)})" if row.remark else None for row in rows]


def footnotes(rows: Sequence[Row]) -> list[str]:
    """The remarks of rows behind their marks, in plain text."""
    return [f"{mark} {row.variant}: {row.remark}" for mark, row in zip(marks(rows), rows, strict=True) if mark]


def _letters() -> Iterator[str]:
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))
