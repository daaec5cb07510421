"""What the page of `fpcn serve` says of pictures: their answers as HTML that holds all it shows."""

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import decode, read_file
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.classify import Prediction, classify
from fpcn_lightning.field.heat_map import heat_map, overlaid
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.results import Table, csv_line

MOST_PICTURES = 50
MOST_PIXELS = 120_000_000
"""Less than `data.images` takes, as anyone may send pictures to a page; above the sensors of nearly all phones."""

_GUESSES = 3
_PREVIEW = 640  # longer side in pixels
_JPEG_QUALITY = 85

_ENVIRONMENT = Environment(
    loader=PackageLoader("fpcn_lightning.field", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


Watch = Callable[[Iterator[Prediction], int], Iterable[Prediction]]


def _unwatched(predictions: Iterator[Prediction], total: int) -> Iterator[Prediction]:  # noqa: ARG001 - as `Watch` says
    return predictions


@dataclass(frozen=True)
class Guess:
    """A class and its calibrated probability in 0..1."""

    name: str
    probability: float


@dataclass(frozen=True)
class Card:
    """One picture on the page; where it could not be read, `error` says why and there are no guesses."""

    name: str
    error: str | None = None
    unknown: bool = False
    guesses: tuple[Guess, ...] = ()  # most likely first
    picture: str = ""  # data URI
    heat: str = ""  # likewise; empty where the model gives no activation map

    @property
    def predicted(self) -> bool:
        """Whether there is an answer, be it `unknown`."""
        return self.error is None


def reply(model: BundleModel, uploads: Sequence[Path], watched: Watch = _unwatched) -> str:
    """Classify pictures that strangers may have sent, and delete them.

    Args:
        model: what answers.
        uploads: picture files; those after the first `MOST_PICTURES` are left out, which the page tells.
        watched: hands on the answers as they come, told how many there will be.

    Returns:
        HTML with a table of all pictures, the same as CSV to download, and a card each.

    Raises:
        UserError: the bundle's network fails.
    """
    chosen = uploads[:MOST_PICTURES]
    try:
        predictions = list(watched(_predictions(model, chosen), len(chosen)))
        cards = [make_card(prediction, model.bundle) for prediction in predictions]
    finally:
        for path in uploads:
            path.unlink(missing_ok=True)
    table = base64.b64encode(_csv(predictions, model.bundle).encode()).decode()
    return _macro("predictions", cards, len(uploads) - len(chosen), table)


def make_card(prediction: Prediction, bundle: Bundle) -> Card:
    """The answer with its pictures; the file is read once more."""
    if prediction.probabilities is None or prediction.seen is None:
        return Card(prediction.path.name, prediction.error)
    ranked = np.argsort(-prediction.probabilities, kind="stable")[:_GUESSES]
    picture = _preview(prediction.path)
    heat = ""
    if prediction.seen.activation_maps is not None:
        maps = prediction.seen.activation_maps[:, ranked[0]]
        heat = _data_uri(
            overlaid(picture, heat_map(maps, prediction.seen.views, prediction.seen.shape, picture.shape[:2]))
        )
    return Card(
        name=prediction.path.name,
        unknown=bool(prediction.unknown),
        guesses=tuple(Guess(bundle.classes[index], float(prediction.probabilities[index])) for index in ranked),
        picture=_data_uri(picture),
        heat=heat,
    )


def about_html(bundle: Bundle) -> str:
    """What stands above the drop zone."""
    return _macro("about", bundle)


def notes_html(model: BundleModel) -> str:
    """What stands at the end of the page."""
    return _macro("notes", model.bundle, model.bundle.files[model.file]["accuracy"], model.file)


def _macro(name: str, *arguments: object) -> str:
    return str(getattr(_ENVIRONMENT.get_template("serve.html.jinja").module, name)(*arguments))


def _predictions(model: BundleModel, paths: Sequence[Path]) -> Iterator[Prediction]:
    too_large = {path for path in paths if _pixels(path) > MOST_PIXELS}
    others = classify(model, (path for path in paths if path not in too_large))
    reason = f"more than {MOST_PIXELS // 10**6} million pixels are too many for this page"
    for path in paths:
        yield Prediction(path, reason) if path in too_large else next(others)


def _csv(predictions: Iterable[Prediction], bundle: Bundle) -> str:
    """The answers as `fpcn predict` writes them, by file name alone."""
    table = Table(bundle.classes, _GUESSES)
    rows = (table.row(replace(prediction, path=Path(prediction.path.name))).values() for prediction in predictions)
    return "".join(map(csv_line, (table.columns, *rows)))


def _pixels(path: Path) -> int:
    """As the header tells; 0 where Pillow cannot say: then the opener's own, higher limit holds, and its words."""
    try:
        with Image.open(path) as image:
            return math.prod(image.size)
    except Exception:  # a damaged file makes Pillow raise whatever its parser stumbled over
        return 0


def _preview(path: Path) -> NDArray[np.uint8]:
    """The whole upright picture, small: uint8 [H, W, 3], RGB."""
    squashed = decode(read_file(path), (_PREVIEW, _PREVIEW))
    factor = _PREVIEW / max(squashed.width, squashed.height)
    size = max(1, round(squashed.width * factor)), max(1, round(squashed.height * factor))
    return np.asarray(Image.fromarray(squashed.pixels).resize(size, Image.Resampling.BILINEAR))


def _data_uri(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
