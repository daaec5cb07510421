"""A page of few parts, that of an explanation or of a search: the verdict, tables, figures, a command, notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.html_pages import templates
from fpcn_lightning.report.page_figure import PageFigure
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.folders import PAGE_NAME


@dataclass(frozen=True)
class SummaryPage:
    """What the page shows.

    Attributes:
        title: above it.
        verdict: sentences, the most important one first; at least one.
        tables: below them.
        figures: below the tables.
        command: what to run next.
        notes: footnotes.
    """

    title: str
    verdict: Sequence[str]
    tables: Sequence[TextTable] = ()
    figures: Sequence[PageFigure] = ()
    command: str | None = None
    notes: Sequence[str] = ()


def write_summary_page(page: SummaryPage, folder: Path) -> Path:
    """Write `index.html` into `folder`.

    Raises:
        WriteError: it cannot be written.
    """
    html = templates("fpcn_lightning.report").get_template("summary.html.jinja").render(title=page.title, page=page)
    return write_text_atomically(folder / PAGE_NAME, html, errors="replace")
