"""What the page of an explanation shows: panels of heat maps, and how many predictions are right."""

from collections.abc import Sequence
from pathlib import Path

from fpcn_lightning.report.page_figure import PageFigure
from fpcn_lightning.report.panels import as_jpeg

HEAT_COLOURS = (
    "A heat map shows what supports the predicted class; its colours are scaled to its own range: compare where it is "
    "bright, not how bright it is."
)


def panels_figure(path: Path) -> PageFigure:
    """The figure in a PNG file, in an encoding that keeps the page small."""
    return PageFigure(as_jpeg(path), path.name, kind="photo")


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
