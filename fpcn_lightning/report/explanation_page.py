"""The page of an explanation: what was found, the measures, the panels of heat maps, notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.html_pages import templates
from fpcn_lightning.report.page_figure import PageFigure
from fpcn_lightning.report.panels import as_jpeg
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.folders import PAGE_NAME

HEAT_COLOURS = (
    "A heat map shows what supports the predicted class; its colours are scaled to its own range: compare where it is "
    "bright, not how bright it is."
)


@dataclass(frozen=True)
class ExplanationPage:
    """What the page shows.

    Attributes:
        title: above it.
        verdict: sentences, the most important one first; at least one.
        tables: of the measures.
        figures: panels.
        notes: footnotes.
    """

    title: str
    verdict: Sequence[str]
    tables: Sequence[TextTable] = ()
    figures: Sequence[PageFigure] = ()
    notes: Sequence[str] = ()


def panels_figure(path: Path) -> PageFigure:
    """The figure in a PNG file, in an encoding that keeps the page small."""
    return PageFigure(as_jpeg(path), path.name, kind="photo")


def write_explanation_page(page: ExplanationPage, folder: Path) -> Path:
    """Write `index.html` into `folder`.

    Raises:
        WriteError: it cannot be written.
    """
    html = templates("fpcn_lightning.report").get_template("explanation.html.jinja").render(title=page.title, page=page)
    return write_text_atomically(folder / PAGE_NAME, html, errors="replace")


def prediction_verdict(name: str, correct: Sequence[bool | None]) -> str:
    """How many pictures a network predicts rightly, where the folder of a picture says its class (else None)."""
    known = [each for each in correct if each is not None]
    if not known:
        count = "1 picture" if len(correct) == 1 else f"{len(correct):,} pictures"
        return (
            f"{name} predicts the class of {count}; whether it is right is not known, since no folder has the name of "
            "a class."
        )
    further = f"; of {len(correct) - len(known):,} others the class is not known" if len(known) < len(correct) else ""
    return f"{name} predicts {sum(known):,} of {len(known):,} pictures rightly, by the names of their folders{further}."
