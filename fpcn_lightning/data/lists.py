"""Reads the lists that users write: CSV and Excel files of pictures, splits, masks and groups.

The delimiter of a CSV is a comma, semicolon, tab or vertical bar: the one that separates the wanted columns in the
header. Its text is UTF-8, or UTF-16 with a byte order mark. The names of columns are compared without letter case and
blanks at the ends. Rows without a value are skipped.
"""

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.data import spreadsheets
from fpcn_lightning.data.files import why_no_file, with_home
from fpcn_lightning.errors import UserError

LIST_SUFFIXES = (".csv", ".tsv", spreadsheets.SUFFIX)
DELIMITERS = ",;\t|"
_SEPARATOR_LINE = re.compile(rf'"?sep=([{re.escape(DELIMITERS)}])"?', re.IGNORECASE)  # Excel's own first line
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class ListRow:
    """A row of a list.

    Attributes:
        place: the file and the line where the row begins, for messages.
        cells: the text by column, in lower case; as written, so that blanks at the ends remain.
    """

    place: str
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """The text of a cell without blanks at the ends; empty where the list has no such column."""
        return self.cells.get(column, "").strip()


@dataclass(frozen=True)
class ListTable:
    """A whole list.

    Attributes:
        header: names of the columns as written, without blanks at the ends, by the name in lower case. A column without
            a name that has values is called `column_N`, after its place.
        rows: its rows.
    """

    header: Mapping[str, str]
    rows: Sequence[ListRow]


def is_list(path: Path) -> bool:
    """Whether a path has the suffix of a list."""
    return path.suffix.lower() in LIST_SUFFIXES


def read_list(
    path: Path, columns: Sequence[str], *, errors: str = "strict", renamed: Mapping[str, str] | None = None
) -> list[ListRow]:
    """The rows of a list; see `read_table`."""
    return list(read_table(path, columns, errors=errors, renamed=renamed).rows)


def read_table(
    path: Path, columns: Sequence[str], *, errors: str = "strict", renamed: Mapping[str, str] | None = None
) -> ListTable:
    """Read a list.

    Args:
        path: the file.
        columns: those that it must have, in lower case.
        errors: what is done about bytes that are not UTF-8, as in `bytes.decode`.
        renamed: today's names of columns by the names that earlier versions wrote.

    Raises:
        UserError: the path is no file, its text is neither UTF-8 nor UTF-16, quotes are not closed, a column is missing
            or given twice, or a row has more cells than the header. It names the line.
    """
    wanted = {*columns, *(old for old, new in (renamed or {}).items() if new in columns)}
    excel = path.suffix.lower() == spreadsheets.SUFFIX
    rows = spreadsheets.spreadsheet_rows(_file(path)) if excel else _csv_rows(path, errors, wanted)
    line, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]
    names = [(renamed or {}).get(name, name) for name in names]
    _check_header(f"{path}, line {line}", names, columns)
    kept = list(rows)
    nameless = {
        place: f"column_{place + 1}" for place, name in enumerate(names) if not name and _has_value(kept, place)
    }
    names = [nameless.get(place, name) for place, name in enumerate(names)]
    written = {name: nameless.get(place, header[place].strip()) for place, name in enumerate(names) if name}
    return ListTable(written, [_row(f"{path}, line {number}", names, cells) for number, cells in kept])


def located(folder: Path, text: str) -> Path:
    """The file that a cell of a list means: an absolute path, or one relative to the folder of the list.

    Where there is nothing at the path as it is written, one with `\\` for `/` (of Windows) or with `~` is tried.
    """
    others = (text, text.replace("\\", "/"), with_home(text))
    return next((path for other in others if os.path.lexists(path := folder / other)), folder / text)


def _csv_rows(path: Path, errors: str, wanted: set[str]) -> Iterator[tuple[int, list[str]]]:
    text = _text(_file(path), errors)
    first, separator = 1, _SEPARATOR_LINE.match(text)
    if separator and text[separator.end() : separator.end() + 1] in ("\n", "\r", ""):
        text, first = text[separator.end() :].removeprefix("\r").removeprefix("\n"), 2
    return _rows(path, text, separator[1] if first == 2 and separator else _delimiter(text, wanted), first)


def _has_value(rows: Sequence[tuple[int, list[str]]], place: int) -> bool:
    return any(place < len(cells) and cells[place].strip() for _, cells in rows)


def _file(path: Path) -> Path:
    if (reason := why_no_file(path)) is not None:
        raise UserError(f"{path} cannot be read as a list: {reason}.")
    return path


def _text(path: Path, errors: str) -> str:
    try:
        data = path.read_bytes()
        if data.startswith(_UTF_16):
            return data.decode("utf-16")
        return data.decode("utf-8-sig", errors)  # spreadsheets put a mark first
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: the text is not UTF-8: save the list as CSV UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read as a list: {error.strerror or error}.") from error


def _delimiter(text: str, wanted: set[str]) -> str:
    """The delimiter that separates the wanted columns in the header; a comma where none does."""
    header = next((line for line in io.StringIO(text) if line.strip(f"{DELIMITERS} \r\n")), "")
    for delimiter in DELIMITERS:
        names = {cell.strip().strip('"').strip().lower() for cell in header.split(delimiter)}
        if len(wanted & names) > len(wanted) // 2:
            return delimiter
    return max(DELIMITERS, key=header.count)


def _rows(path: Path, text: str, delimiter: str, first: int) -> Iterator[tuple[int, list[str]]]:
    """The rows that have a value, each with the number of its first line; `first` is that of the text."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = first
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = first + reader.line_num
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: this is not CSV ({error}): check the quotes.") from error


def _check_header(place: str, names: Sequence[str], columns: Sequence[str]) -> None:
    if missing := [column for column in columns if column not in names]:
        raise UserError(
            f"{place}: the list lacks the column {' and '.join(missing)}: its first line must name "
            f"{', '.join(columns)}, separated by a comma, semicolon, tab or |."
        )
    doubled = [name for name, count in Counter(names).items() if name and count > 1]
    if doubled:
        raise UserError(f"{place}: the list has the column {doubled[0]} twice: rename or remove one of them.")


def _row(place: str, names: Sequence[str], cells: Sequence[str]) -> ListRow:
    if any(cell.strip() for cell in cells[len(names) :]):
        raise UserError(
            f"{place}: the row has {len(cells)} cells, the header {len(names)}: put quotes around a text that contains "
            "the delimiter."
        )
    return ListRow(place, dict.fromkeys(names, "") | dict(zip(names, cells, strict=False)))
