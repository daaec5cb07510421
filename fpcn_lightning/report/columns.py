"""The columns of the results table: one list, from which every format of the table is made.

To add a column, append a `Column` to `COLUMNS`, here or in any other module before a report is made: it is then in
`table.md`, `table.tex` and `table.csv`, on the page and, unless it is for files only, on the terminal.
"""

import csv
import io
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, fields
from functools import partial

from fpcn_lightning.report.formats import (
    NOT_KNOWN,
    accuracy_cell,
    decimals_for,
    difference_cell,
    epochs_cell,
    epochs_heading,
    interval_cell,
    parameters_cell,
    percent,
    seconds_cell,
    seeds_cell,
    seeds_heading,
    status_cell,
    three_digits,
)
from fpcn_lightning.report.rows import Row, marks
from fpcn_lightning.report.text_table import Kind, TextTable
from fpcn_lightning.runs.csv_text import formula_free

Rows = Sequence[Row]

_ROW_NAMES = [field.name for field in fields(Row) if field.name != "results"]
_TEXT_NAMES = frozenset(
    {
        "experiment",
        "variant",
        "inference_mode",
        "seeds",
        "status",
        "error",
        "group",
        "condition",
        "reference",
        "remark",
    }
)


def always(_rows: Rows) -> bool:
    """Show a column in every table."""
    return True


def if_several_experiments(rows: Rows) -> bool:
    """Show a column in tables that are not about a single experiment."""
    return len({row.experiment for row in rows}) != 1


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: above its cells.
        cell: the text of the cell for a reader; `NOT_KNOWN` where the row has no value.
        kind: numbers are set to the right, text and messages to the left.
        shown: whether a table of these rows has the column; None: where at least one of its cells is known.
        carries_mark: in which rows the letter of the remark follows the cell: in one column of each row.
        in_files_only: the terminal omits it from tables with intervals, for lack of room.
        csv_name: of a further column of `table.csv`. The attributes of `Row` are always there, so only a column with
            another value needs one.
        value: the cell in `table.csv`: not rounded, a share of one instead of percent; None where it is unknown.
    """

    heading: str
    cell: Callable[[Row], str]
    kind: Kind = "number"
    shown: Callable[[Rows], bool] | None = None
    carries_mark: Callable[[Row], bool] | None = None
    in_files_only: bool = False
    csv_name: str | None = None
    value: Callable[[Row], object] | None = None


def seeds_column(rows: Rows) -> list[Column]:
    """The column of the seeds, headed `seed` where each row has one."""
    return [Column(seeds_heading(row.seeds for row in rows), lambda row: seeds_cell(row.seeds), "text", always)]


def epochs_columns(rows: Rows) -> list[Column]:
    """A column for each validation accuracy that is to be reached."""
    targets = sorted({row.target_accuracy for row in rows if row.target_accuracy is not None})
    return [Column(epochs_heading(target), partial(_epochs_to, target)) for target in targets]


def _epochs_to(target: float, row: Row) -> str:
    return epochs_cell(row) if row.target_accuracy == target else NOT_KNOWN


# In the order of the table. An entry is a column, or a function of all rows that returns columns.
COLUMNS: list[Column | Callable[[Rows], Sequence[Column]]] = [
    Column("experiment", lambda row: row.experiment, "text", if_several_experiments),
    Column("variant", lambda row: row.variant, "text", always, carries_mark=lambda row: row.paper is None),
    Column("group", lambda row: row.group or NOT_KNOWN, "text", in_files_only=True),
    Column("condition", lambda row: row.condition or NOT_KNOWN, "text", in_files_only=True),
    Column("inference mode", lambda row: row.inference_mode or NOT_KNOWN, "text", always),
    seeds_column,
    Column("accuracy % ± binomial SE", accuracy_cell, shown=always),
    Column("95 % interval", interval_cell),
    Column("difference", lambda row: NOT_KNOWN if row.group else difference_cell(row)),
    Column("difference to the baseline", lambda row: difference_cell(row) if row.group else NOT_KNOWN),
    Column("paper %", lambda row: percent(row.paper), carries_mark=lambda row: row.paper is not None),
    Column(
        "SD over seeds",
        lambda row: percent(row.accuracy_deviation, decimals_for(row.accuracy_deviation)),
        shown=always,
    ),
    epochs_columns,
    Column(
        "macro-F1 %",
        lambda row: percent(row.macro_f1, decimals_for(row.accuracy_standard_error)),
        shown=always,
        in_files_only=True,
    ),
    Column("parameters", parameters_cell, shown=always, in_files_only=True),
    Column("GMAC", lambda row: three_digits(row.gmac), shown=always, in_files_only=True),
    Column("ms", lambda row: three_digits(row.milliseconds), in_files_only=True),
    Column("training GMAC", lambda row: three_digits(row.training_gmac), in_files_only=True),
    Column("seconds", lambda row: seconds_cell(row.seconds), shown=always, in_files_only=True),
    Column("images/s training", lambda row: three_digits(row.training_images_per_second), in_files_only=True),
    Column("images/s inference", lambda row: three_digits(row.inference_images_per_second), in_files_only=True),
    Column("status", status_cell, "message", always),
]


def results_table(rows: Rows, *, on_screen: bool = False) -> TextTable:
    """The table of rows for a reader.

    Args:
        rows: in their order.
        on_screen: omit columns that are for files only, if the table has intervals.
    """
    on_screen = on_screen and any(row.accuracy_low is not None for row in rows)
    columns = [each for each in _columns(rows) if not (on_screen and each.in_files_only)]
    return _table(columns, rows, rows, frozenset())


def _table(columns: Sequence[Column], rows: Rows, marked: Rows, left_out: Set[str]) -> TextTable:
    """The columns that have anything to show of the rows, without those that are left out; marks count in `marked`."""
    mark_of = {id(row): mark for row, mark in zip(marked, marks(marked), strict=True)}  # equal rows have other letters
    shown = {}
    for column in columns:
        cells = [_cell(column, row, mark_of[id(row)]) for row in rows]
        has_cells = column.shown(rows) if column.shown else any(cell != NOT_KNOWN for cell in cells)
        if has_cells and column.heading not in left_out:
            shown[column] = cells
    return TextTable(
        headings=[column.heading for column in shown],
        lines=[list(line) for line in zip(*shown.values(), strict=True)],
        kinds={column.heading: column.kind for column in shown},
    )


def brief_table(compared: Rows, every: Rows) -> TextTable:
    """The table that comes first on a page: the columns that decide, least in number.

    Args:
        compared: rows under the configured inference modes, the best first.
        every: all rows; of those without an accuracy, such as failed ones, each keeps its line.
    """
    rows = [*compared, *(row for row in every if row.accuracy is None)]
    left_out = {"inference mode"}  # each variant has one line
    if all(row.status == "finished" for row in rows):
        left_out.add("status")
    if all(row.accuracy_deviation is None for row in rows):
        left_out.add("SD over seeds")
    return _table([each for each in _columns(rows) if not each.in_files_only], rows, every, left_out)


def to_csv(rows: Rows) -> str:
    """Rows as CSV for other programs: fractions in 0..1, nothing rounded.

    The columns are the attributes of `Row`, then those of `COLUMNS` that have a name of their own. Seeds are separated
    by spaces; what is unknown is an empty cell.
    """
    further = [column for column in _columns(rows) if column.csv_name and column.value]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_ROW_NAMES, *(column.csv_name for column in further)])
    for row in rows:
        own = [" ".join(map(str, row.seeds)) if name == "seeds" else getattr(row, name) for name in _ROW_NAMES]
        writer.writerow(map(formula_free, [*own, *(column.value(row) for column in further if column.value)]))
    return buffer.getvalue()


def text_columns() -> set[str]:
    """The columns of `table.csv` that hold text, also where it looks like a number."""
    return {*_TEXT_NAMES, *(each.csv_name for each in _columns(()) if each.csv_name and each.kind != "number")}


def _cell(column: Column, row: Row, mark: str | None) -> str:
    cell = column.cell(row)
    return f"{cell} {mark}" if mark and column.carries_mark and column.carries_mark(row) else cell


def _columns(rows: Rows) -> list[Column]:
    return [column for entry in COLUMNS for column in ([entry] if isinstance(entry, Column) else entry(rows))]
