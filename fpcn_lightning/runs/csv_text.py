"""Texts as cells of a CSV that a spreadsheet opens: none is computed as a formula. All writers of tables use this."""

FOREIGN_NAMES = "surrogateescape"  # a file name out of an old archive need not be UTF-8
FORMULA_SIGNS = tuple("=+-@")  # spreadsheets compute cells that begin with one of these
_QUOTE = "'"  # by which spreadsheets mark text
_BEFORE_A_FORMULA = (*FORMULA_SIGNS, "\t", "\r", "\n")  # some spreadsheets skip blanks before a formula


def formula_free(cell: object) -> object:
    """The cell, with a quote before a text that a spreadsheet would compute; numbers stay as they are."""
    return _QUOTE + cell if isinstance(cell, str) and _is_computed(cell) else cell


def path_text(text: str) -> str:
    """A relative path that is still a valid path, and that no spreadsheet computes."""
    return f"./{text}" if text.startswith(FORMULA_SIGNS) else text


def as_before(cell: str) -> str:
    """The text that `formula_free` was given."""
    return cell[1:] if cell.startswith(_QUOTE) and _is_computed(cell[1:]) else cell


def _is_computed(text: str) -> bool:
    if not text.lstrip(_QUOTE).startswith(_BEFORE_A_FORMULA):  # with quotes: what was quoted before stays apart
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False
