"""What the page of `fpcn serve` shows: the predictions for pictures, as HTML that includes all images."""

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

from fpcn_lightning.data.folders import is_system
from fpcn_lightning.data.images import decode, read_file
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.classify import Prediction, classify
from fpcn_lightning.field.heat_map import heat_map, overlaid
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.results import PredictionTable, csv_line

MAX_PICTURES = 50
MAX_PIXELS = 120_000_000
"""Below the limit of `data.images`, since anyone may upload to a page; above the sensors of nearly all phones."""

_TOP_CLASSES = 3
_PREVIEW_SIZE = 640  # pixels along the longer edge
_JPEG_QUALITY = 85

_ENVIRONMENT = Environment(
    loader=PackageLoader("fpcn_lightning.field", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


WithProgress = Callable[[Iterator[Prediction], int], Iterable[Prediction]]


def _without_progress(predictions: Iterator[Prediction], total: int) -> Iterator[Prediction]:  # noqa: ARG001 - as `WithProgress`
    return predictions


@dataclass(frozen=True)
class ClassProbability:
    """A class and its calibrated probability in 0..1."""

    name: str
    probability: float


@dataclass(frozen=True)
class PictureResult:
    """One picture on the page; if it could not be read, `error` says why and there are no classes."""

    name: str
    error: str | None = None
    unknown: bool = False
    top: tuple[ClassProbability, ...] = ()  # most likely first
    picture: str = ""  # data URI
    heat: str = ""  # likewise; empty if the model has no activation map

    @property
    def predicted(self) -> bool:
        """Whether there is a prediction, `unknown` included."""
        return self.error is None


def reply(model: BundleModel, uploads: Sequence[Path], with_progress: WithProgress = _without_progress) -> str:
    """Classify uploaded pictures, which may come from anyone, and delete them.

    Args:
        model: classifies the pictures.
        uploads: picture files; those after the first `MAX_PICTURES` are skipped, which the page says.
        with_progress: wraps the iterator of predictions to report progress; is also passed their number.

    Returns:
        HTML with a table of all pictures, the same table as CSV to download, and the result of each picture.

    Raises:
        UserError: the bundle's network fails.
    """
    chosen = uploads[:MAX_PICTURES]
    try:
        predictions = list(with_progress(_predictions(model, chosen), len(chosen)))
        results = [picture_result(prediction, model.bundle) for prediction in predictions]
    finally:
        for path in uploads:
            path.unlink(missing_ok=True)
    table = base64.b64encode(_csv(predictions, model.bundle).encode()).decode()
    return _macro("predictions", results, len(uploads) - len(chosen), table)


def picture_result(prediction: Prediction, bundle: Bundle) -> PictureResult:
    """The prediction with its images; the file is read a second time."""
    if prediction.probabilities is None or prediction.viewed is None:
        return PictureResult(prediction.path.name, prediction.error)
    ranked = np.argsort(-prediction.probabilities, kind="stable")[:_TOP_CLASSES]
    picture = _preview(prediction.path)
    heat = ""
    viewed = prediction.viewed
    if viewed.activation_maps is not None:
        maps = viewed.activation_maps[:, ranked[0]]
        heat = _data_uri(overlaid(picture, heat_map(maps, viewed.views, viewed.shape, picture.shape[:2])))
    return PictureResult(
        name=prediction.path.name,
        unknown=bool(prediction.unknown),
        top=tuple(ClassProbability(bundle.classes[index], float(prediction.probabilities[index])) for index in ranked),
        picture=_data_uri(picture),
        heat=heat,
    )


def about_html(bundle: Bundle) -> str:
    """The text above the drop zone."""
    return _macro("about", bundle)


def notes_html(model: BundleModel) -> str:
    """The text at the end of the page."""
    return _macro("notes", model.bundle, model.bundle.files[model.file]["accuracy"], model.file)


def _macro(name: str, *arguments: object) -> str:
    return str(getattr(_ENVIRONMENT.get_template("serve.html.jinja").module, name)(*arguments))


def _predictions(model: BundleModel, paths: Sequence[Path]) -> Iterator[Prediction]:
    reasons = {path: reason for path in paths if (reason := _refusal(path)) is not None}
    others = classify(model, (path for path in paths if path not in reasons))
    for path in paths:
        yield Prediction(path, reasons[path]) if path in reasons else next(others)


def _refusal(path: Path) -> str | None:
    """Why a file is not classified; None if it is."""
    if is_system(path.name):  # a folder that was dropped brings them
        return "a hidden file or one of the operating system, not a photograph"
    if _pixels(path) > MAX_PIXELS:
        return f"more than {MAX_PIXELS // 10**6} million pixels are too many for this page"
    return None


def _csv(predictions: Iterable[Prediction], bundle: Bundle) -> str:
    """The predictions as `fpcn predict` writes them, with file names without folders."""
    table = PredictionTable(bundle.classes, _TOP_CLASSES)
    rows = (table.row(replace(prediction, path=Path(prediction.path.name))).values() for prediction in predictions)
    return "".join(map(csv_line, (table.columns, *rows)))


def _pixels(path: Path) -> int:
    """As in the header; 0 if Pillow cannot read it: then `classify` applies the limit and the message of its own."""
    try:
        with Image.open(path) as image:
            return math.prod(image.size)
    except Exception:  # Pillow raises many kinds of errors on a damaged file
        return 0


def _preview(path: Path) -> NDArray[np.uint8]:
    """The whole upright picture at a small size: uint8 [H, W, 3], RGB."""
    squashed = decode(read_file(path), (_PREVIEW_SIZE, _PREVIEW_SIZE))
    factor = _PREVIEW_SIZE / max(squashed.width, squashed.height)
    size = max(1, round(squashed.width * factor)), max(1, round(squashed.height * factor))
    return np.asarray(Image.fromarray(squashed.pixels).resize(size, Image.Resampling.BILINEAR))


def _data_uri(picture: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
