"""A figure inside a page, and what becomes of one that cannot be drawn."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from fpcn_lightning.html_pages import data_uri

logger = logging.getLogger(__name__)

_CSS_DPI = 96  # dots of CSS in an inch


@dataclass(frozen=True)
class PageFigure:
    """A figure inside a page.

    Attributes:
        source: data URI.
        caption: below it.
        width: on the page in CSS pixels, where the window has room; None: its own.
        kind: the colours of a chart are inverted on a dark page, those of photographs are not.
    """

    source: str
    caption: str
    width: int | None = None
    kind: Literal["chart", "photo"] = "chart"


def chart(path: Path, caption: str) -> PageFigure:
    """The figure in an SVG or PNG file, in the size that it was drawn for."""
    if path.suffix == ".svg":
        return PageFigure(data_uri(path.read_bytes(), "svg+xml"), caption)
    with Image.open(path) as image:
        width = round(image.width * _CSS_DPI / image.info.get("dpi", (_CSS_DPI, _CSS_DPI))[0])
    return PageFigure(data_uri(path.read_bytes(), "png"), caption, width)


@contextlib.contextmanager
def failures_as_warnings(what: str) -> Iterator[None]:
    """Turn any error while `what` is drawn into a warning: figures and pages must not cost a result."""
    try:
        yield
    except Exception as error:
        logger.warning("%s could not be made: %s: %s", what, type(error).__name__, error)
