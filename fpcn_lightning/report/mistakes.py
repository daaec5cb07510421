"""The worst mistakes of a run as pictures: thumbnails in its folder, and what its page shows of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fpcn_lightning.errors import UserError
from fpcn_lightning.html_pages import data_uri
from fpcn_lightning.report.formats import percent
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.predictions import WrongPrediction, read_wrong_predictions
from fpcn_lightning.runs.results import Run

MISTAKES = "mistakes"  # folder of the thumbnails below that of the run
MOST = 12
SIDE = 240  # pixels, the longer side of a thumbnail
_QUALITY = 80


@dataclass(frozen=True)
class ShownMistake:
    """A mistake as the page shows it; `source` is a data URI, None where there is no picture."""

    name: str
    label: str
    predicted: str
    probability: str
    probability_of_label: str
    source: str | None


def write_thumbnails(run: Run, thumbnail: Callable[[str], Image.Image | None]) -> None:
    """Write a thumbnail of each of the worst mistakes, `01.jpg` being the worst; earlier ones are removed.

    Args:
        run: with predictions of its test pictures.
        thumbnail: that of a picture by its name, or None where it cannot be read any more.

    Raises:
        UserError: the predictions cannot be read.
        WriteError: a file cannot be written.
    """
    folder = run[0] / MISTAKES
    for path in folder.glob("*.jpg"):
        path.unlink()
    for number, mistake in enumerate(_worst(run), 1):
        image = thumbnail(mistake.name)
        if image is not None:
            with atomic_write(folder / _file_name(number)) as temporary:
                image.convert("RGB").save(temporary, "jpeg", quality=_QUALITY)


def shown_mistakes(run: Run) -> list[ShownMistake]:
    """The worst mistakes with their thumbnails; none where the predictions cannot be read."""
    try:
        worst = _worst(run)
    except UserError:
        return []
    return [_shown(run[0] / MISTAKES / _file_name(number), mistake) for number, mistake in enumerate(worst, 1)]


def _worst(run: Run) -> list[WrongPrediction]:
    folder, result = run
    return read_wrong_predictions(folder, result["data"]["classes"] if result["data"] else [], MOST)


def _shown(path: Path, mistake: WrongPrediction) -> ShownMistake:
    # Bytes of a name that are not UTF-8 cannot be written to the page.
    name = mistake.name.encode("utf-8", "replace").decode()
    return ShownMistake(
        name,
        mistake.label,
        mistake.predicted,
        _probability(mistake.probability),
        _probability(mistake.probability_of_label),
        data_uri(path.read_bytes(), "jpeg") if path.is_file() else None,
    )


def _probability(probability: float) -> str:
    return f"{percent(probability)}\u00a0%"  # in one line


def _file_name(number: int) -> str:
    return f"{number:02}.jpg"
