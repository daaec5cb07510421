"""One table from many runs, on the screen: a row for each experiment, variant and inference mode, over its seeds.

Only runs that differ in nothing but the seed are averaged; a run without results keeps a row of its own.
"""

from collections.abc import Iterable, Sequence

from fpcn_lightning.report.columns import results_table
from fpcn_lightning.report.rows import Row, variant_rows
from fpcn_lightning.report.text_table import to_markdown
from fpcn_lightning.report.variants import sort_into_variants
from fpcn_lightning.runs.results import Run

_PAGE_WIDTH = 1000  # characters; more than any row


def summarise(runs: Iterable[Run]) -> list[Row]:
    """Aggregate runs over seeds, from their records alone: without intervals, which `experiments` adds.

    Returns:
        Rows sorted by experiment and variant; within a variant the configured inference mode first, runs without
        results last.
    """
    return [row for variant in sort_into_variants(runs) for row in variant_rows(variant)]


def print_table(rows: Sequence[Row]) -> None:
    """Print rows to the terminal, as a rich table, or as Markdown where rich is not installed.

    With intervals there is no room for what is not compared, such as cost: the files of a report have it.
    """
    try:
        # Here, because rich is optional.
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(to_markdown(results_table(rows)))
        return
    shown = results_table(rows, on_screen=True)
    printed = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for position, heading in enumerate(shown.headings):
        # Headings are wrapped between words, cells never.
        width = max(map(len, [*heading.split(), *(line[position] for line in shown.lines)]))
        printed.add_column(heading, justify="right" if shown.kind(position) == "number" else "left", width=width)
    for line in shown.lines:
        # Text, because an error message may hold square brackets, which rich reads as markup.
        printed.add_row(*map(Text, line))
    # Fitted to a narrow screen, rich would cut numbers and omit columns: let the screen break the lines instead.
    Console(width=_PAGE_WIDTH).print(printed)
