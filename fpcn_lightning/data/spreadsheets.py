"""Reads the first sheet of an Excel file (.xlsx) as rows of text.

Formulas are not computed: a cell has the value that the spreadsheet program has stored. The file may come from a
stranger: rows are read one by one, and what it may unpack to is limited before it is opened.
"""

import datetime
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import ParseError

from fpcn_lightning.errors import MissingPackage, UserError, megabytes

SUFFIX = ".xlsx"
MAX_ROWS = 2**20  # of a sheet of Excel
MAX_COLUMNS = 1000
MAX_BYTES = 500_000_000  # unpacked


def spreadsheet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that have a value, each with its number, without empty cells at the end.

    Raises:
        UserError: openpyxl is missing, or the file is damaged, too large or protected by a password.
    """
    MissingPackage.check(str(path), "excel", ", or save the list as CSV UTF-8")
    from openpyxl import load_workbook

    _check_size(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about parts of the file that hold no cells
            workbook = load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                sheet = workbook.worksheets[0]
                sheet.reset_dimensions()  # what the file says about its size may be wrong
                rows = sheet.iter_rows(max_row=MAX_ROWS + 1, max_col=MAX_COLUMNS + 1, values_only=True)
                for number, values in enumerate(rows, 1):
                    cells = [_text(value) for value in values]
                    while cells and not cells[-1].strip():
                        cells.pop()
                    if number > MAX_ROWS or len(cells) > MAX_COLUMNS:
                        raise UserError(
                            f"{path}, line {number}: the first sheet has more than {MAX_ROWS:,} rows or "
                            f"{MAX_COLUMNS:,} columns: keep the list alone in the sheet."
                        )
                    if cells:
                        yield number, cells
            finally:
                workbook.close()
    except UserError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ParseError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} cannot be read as an Excel file ({type(error).__name__}): save the list as CSV UTF-8."
        ) from error


def _check_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())  # nothing longer is unpacked
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is no Excel file of the form .xlsx, or is protected by a password: save the list as CSV UTF-8."
        ) from error
    if size > MAX_BYTES:
        raise UserError(
            f"{path} unpacks to {megabytes(size)}, more than {megabytes(MAX_BYTES)}: save the list as CSV UTF-8."
        )


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value)
