"""The prediction for one uploaded photograph, with what the page shows of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.folders import is_system
from fpcn_lightning.data.images import ImageLimits, ImageReader
from fpcn_lightning.field.classify import Prediction, classify
from fpcn_lightning.field.heat_map import heat_map, object_area, outlined, overlaid
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.results import PredictionTable, csv_line
from fpcn_lightning.field.serving.verdict import State, Verdict, usual_coverage, verdict
from fpcn_lightning.field.untrusted import printable
from fpcn_lightning.html_pages import image_uri

MAX_PICTURES = 50
"""At a time on the page, and in one request to the REST endpoint."""

LIMITS = ImageLimits(seconds=20)
"""Of each photograph, since anyone may upload to a page."""

TOP_CLASSES = 3
_MAX_NAME = 200  # characters
_PREVIEW_SIZE = 640  # pixels along the longer edge
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class ClassProbability:
    """A class and its calibrated probability in 0..1."""

    name: str
    probability: float


@dataclass(frozen=True)
class PictureResult:
    """One photograph; if it could not be read, its state is `unreadable` and there are no classes.

    Attributes:
        prediction: its `path` is the name that the client sent, without folders.
        verdict: how far it can be relied on.
        top: the most likely classes, most likely first.
        picture: data URI of a small copy; empty without images.
        heat: likewise, of its heat map; empty if the model has no activation map.
        located: likewise, of the object that the model locates; empty if it locates none.
    """

    prediction: Prediction
    verdict: Verdict
    top: tuple[ClassProbability, ...] = ()
    picture: str = ""
    heat: str = ""
    located: str = ""

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.prediction.path.name

    @property
    def error(self) -> str | None:
        """Why there is no prediction."""
        return self.prediction.error


def classify_upload(
    model: BundleModel, reader: ImageReader, path: Path, name: str, *, images: bool = True
) -> PictureResult:
    """Classify one uploaded photograph, which may come from anyone.

    Args:
        model: classifies it.
        reader: reads it, within `LIMITS`.
        path: of the stored file.
        name: that the client sent, for display alone.
        images: whether to return a small copy, heat map and outline, too.

    Raises:
        UserError: the bundle's network fails.
    """
    if is_system(display_name(name)):  # a folder that was dropped on the page brings them
        return refused(name, "a hidden file or one of the operating system, not a photograph")
    [found] = classify(model, [path], coverage=usual_coverage(model), reader=reader)
    prediction = replace(found, path=Path(display_name(name)))
    judged = verdict(prediction, model.bundle.classes)
    if prediction.probabilities is None:
        return PictureResult(prediction, judged)
    ranked = np.argsort(-prediction.probabilities, kind="stable")[:TOP_CLASSES]
    top = tuple(
        ClassProbability(model.bundle.classes[index], float(prediction.probabilities[index])) for index in ranked
    )
    result = PictureResult(prediction, judged, top)
    return _with_images(result, _preview(path, reader), int(ranked[0])) if images else result


def refused(name: str, reason: str) -> PictureResult:
    """The result of a file that is not classified."""
    return PictureResult(Prediction(Path(display_name(name)), printable(reason)), Verdict(State.UNREADABLE))


def display_name(name: str) -> str:
    """A file name from a client without folders, at most `_MAX_NAME` characters long."""
    last = PureWindowsPath(printable(name)).name or "photograph"  # both kinds of slashes
    return last if len(last) <= _MAX_NAME else f"{last[:_MAX_NAME]}…"


def csv_of(results: Iterable[PictureResult], model: BundleModel) -> str:
    """The predictions as `fpcn predict --sets` writes them, with the plausible classes as sets, and with the state."""
    reasons = "; ".join(model.bundle.usability.reasons)
    table = PredictionTable(model.bundle.classes, TOP_CLASSES, sets=True, not_usable=reasons)
    place = table.columns.index("error")
    columns = [*table.columns[:place], "state", *table.columns[place:]]
    lines = [csv_line(columns)]
    for result in results:
        row = table.row(replace(result.prediction, prediction_set=result.verdict.plausible))
        row["state"] = str(result.verdict.state)
        lines.append(csv_line(row[column] for column in columns))
    return "".join(lines)


def _with_images(result: PictureResult, picture: NDArray[np.uint8], best: int) -> PictureResult:
    heat = located = ""
    viewed = result.prediction.viewed
    assert viewed is not None  # since there is a prediction
    place = viewed.views, viewed.shape, picture.shape[:2], viewed.area
    if viewed.activation_maps is not None:
        heat = _data_uri(overlaid(picture, heat_map(viewed.activation_maps[:, best], *place)))
    if viewed.object_masks is not None:
        located = _data_uri(outlined(picture, object_area(viewed.object_masks, *place)))
    # The maps are large, and the page keeps the result for as long as it is open.
    slim = replace(result.prediction, viewed=None)
    return replace(result, prediction=slim, picture=_data_uri(picture), heat=heat, located=located)


def _preview(path: Path, reader: ImageReader) -> NDArray[np.uint8]:
    """The whole upright picture at a small size: uint8 [H, W, 3], RGB."""
    squashed = reader.read(path, (_PREVIEW_SIZE, _PREVIEW_SIZE))
    factor = _PREVIEW_SIZE / max(squashed.width, squashed.height)
    size = max(1, round(squashed.width * factor)), max(1, round(squashed.height * factor))
    return np.asarray(Image.fromarray(squashed.pixels).resize(size, Image.Resampling.BILINEAR))


def _data_uri(picture: NDArray[np.uint8]) -> str:
    return image_uri(Image.fromarray(picture), quality=_JPEG_QUALITY)
