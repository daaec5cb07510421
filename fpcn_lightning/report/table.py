"""One table from many runs, on the screen: a row for each experiment, variant and reading, over its seeds.

Only runs that differ in nothing but the seed are averaged; a run without figures keeps a row of its own.
"""

from collections.abc import Iterable, Sequence

from fpcn_lightning.report.formats import TEXT_HEADINGS, cells, to_markdown
from fpcn_lightning.report.rows import Row, variant_rows
from fpcn_lightning.report.variants import sort_into_variants
from fpcn_lightning.runs.results import Run

_PAGE_WIDTH = 1000  # characters; more than any row
_LEFT_TO_FILES = (
    "group",
    "side",
    "macro-F1 %",
    "parameters",
    "GMAC",
    "ms",
    "training GMAC",
    "seconds",
    "images/s training",
    "images/s inference",
)


def summarise(runs: Iterable[Run]) -> list[Row]:
    """Aggregate runs over seeds, from their records alone: without intervals, which `experiments` adds.

    Returns:
        Rows sorted by experiment and variant; within a variant the configured reading first, runs without figures last.
    """
    return [row for variant in sort_into_variants(runs) for row in variant_rows(variant)]


def print_table(rows: Sequence[Row]) -> None:
    """Print rows to the terminal, as a rich table, or as Markdown where rich is not installed.

    Beside intervals there is no room for what is not compared, such as cost: the files of a report have it.
    """
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(to_markdown(rows))
        return
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    headings, lines = cells(rows)
    columns = dict(zip(headings, zip(*lines, strict=True), strict=True))
    if "95 % interval" in columns:
        columns = {heading: column for heading, column in columns.items() if heading not in _LEFT_TO_FILES}
    for heading, column in columns.items():
        # Headings are wrapped between words, cells never.
        width = max(map(len, [*heading.split(), *column]))
        table.add_column(heading, justify="left" if heading in TEXT_HEADINGS else "right", width=width)
    for line in zip(*columns.values(), strict=True):
        # Text, because an error message may hold square brackets, which rich reads as markup.
        table.add_row(*map(Text, line))
    # Fitted to a narrow screen, rich would cut numbers and leave out columns: let the screen break the lines instead.
    Console(width=_PAGE_WIDTH).print(table)
