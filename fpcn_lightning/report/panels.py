"""The panels of heat maps that runs drew after their last epoch, for the page."""

import re
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fpcn_lightning.html_pages import image_uri
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import Run

_NAME = re.compile(r"^epoch-(\d+)\.png$")
_WIDEST = 1400  # pixels


class LastPanels(NamedTuple):
    """The panels that one run drew last."""

    seed: int
    epoch: int  # epochs that were finished
    source: str  # data URI


def last_panels(variant: Variant) -> LastPanels | None:
    """Those of the first seed with readable ones, in an encoding that keeps the page small."""
    for run in (*variant.tested, *variant.others):
        found = _of_run(run)
        if found is not None:
            return found
    return None


def _of_run(run: Run) -> LastPanels | None:
    folder, result = run
    numbered = [
        (int(match[1]), path) for path in folder.glob("panels/epoch-*.png") if (match := _NAME.search(path.name))
    ]
    if not numbered:
        return None
    epoch, path = max(numbered)
    try:
        return LastPanels(result["seed"], epoch, as_jpeg(path))
    except OSError:  # Pillow raises it for damaged files, too
        return None


def as_jpeg(path: Path) -> str:
    """A picture as a data URI, at most 1400 pixels wide."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((_WIDEST, picture.height))
    return image_uri(picture)
