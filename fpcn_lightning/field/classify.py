"""Classifies photographs: lazily, in batches of views, continuing after a file that cannot be read."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.cores import usable_cores
from fpcn_lightning.data.augment import Augmentation, View
from fpcn_lightning.data.images import DEFAULT_LIMITS, Area, ImageLimits, ImageReader, Shape, UnreadableImage
from fpcn_lightning.field.concurrency import prefetch
from fpcn_lightning.field.model import BundleModel, ModelOutputs

MAX_WORKERS = 4
_PICTURES_A_WORKER = 10  # fewer are read sooner than another process starts


@dataclass(frozen=True)
class ViewedPicture:
    """What the network saw of a picture.

    Attributes:
        shape: height and width in pixels that the picture was resized to.
        area: the part of the picture that this shows; a letterbox extends beyond the picture.
        views: the square parts of that which were classified.
        activation_maps: float32 [V, C, h, w], of each view; None if the network has none.
        object_masks: float32 [V, h, w], of each view; None if the network has none.
    """

    shape: Shape
    area: Area
    views: tuple[View, ...]
    activation_maps: NDArray[np.float32] | None
    object_masks: NDArray[np.float32] | None


@dataclass(frozen=True)
class Prediction:
    """The prediction for one file: everything from `probabilities` on, or `error`.

    Attributes:
        path: as given.
        error: why there is no prediction.
        probabilities: float32 [C], calibrated, the mean over the views.
        score: higher for pictures of the kind that the network was trained with, the mean over the views.
        unknown: the score is below the threshold of the model file.
        prediction_set: classes that include the true one in the requested share of pictures; None unless requested.
        viewed: where the network looked.
    """

    path: Path
    error: str | None = None
    probabilities: NDArray[np.float32] | None = None
    score: float | None = None
    unknown: bool | None = None
    prediction_set: tuple[str, ...] | None = None
    viewed: ViewedPicture | None = None


class _PreparedPicture(NamedTuple):
    """A picture before it is classified."""

    path: Path
    error: str | None
    shape: Shape
    area: Area
    views: tuple[View, ...]
    pixels: NDArray[np.uint8]  # [V, S, S, 3]


class _ViewOutputs(NamedTuple):
    """What the network returns for one view."""

    probabilities: NDArray[np.float32]  # [C]
    score: np.float32
    activation_map: NDArray[np.float32] | None  # [C, h, w]
    object_mask: NDArray[np.float32] | None  # [h, w]


def classify_file(
    model: BundleModel, path: Path, *, coverage: float | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> Prediction:
    """Classify one picture; see `classify`."""
    with ImageReader(limits) as reader:
        return next(classify(model, [path], coverage=coverage, reader=reader))


def classify(
    model: BundleModel,
    paths: Iterable[Path],
    *,
    batch_size: int = 8,
    coverage: float | None = None,
    workers: int | None = None,
    reader: ImageReader | None = None,
) -> Iterator[Prediction]:
    """Classify pictures: one prediction for each path, in their order.

    Args:
        model: a loaded bundle.
        paths: picture files, consumed lazily.
        batch_size: views that are computed together.
        coverage: share of pictures of the trained kind whose prediction set must include the true class, one of those
            that the bundle was made with, such as 0.9; None makes no sets.
        workers: pictures that are decoded at once, each in a process; None uses up to four, fewer for a short list.
        reader: reads the files; None makes one with the default limits.

    Raises:
        UserError: the bundle was not made with this coverage, or its network fails.
    """
    quantile = model.quantile(coverage)
    few = 1 + len(paths) // _PICTURES_A_WORKER if isinstance(paths, Sized) else MAX_WORKERS
    workers = workers or min(MAX_WORKERS, usable_cores(), few)

    def predictions() -> Iterator[Prediction]:
        with nullcontext(reader) if reader is not None else ImageReader() as opened:
            prepared = prefetch(
                lambda path: _prepare(opened, model.bundle.views, path), paths, workers, max(batch_size, 2 * workers)
            )
            with closing(prepared):  # before the reader, which its threads use
                for group in _groups(prepared, batch_size):
                    yield from _predictions(model, group, batch_size, quantile)

    return predictions()


def _prepare(reader: ImageReader, views: Augmentation, path: Path) -> _PreparedPicture:
    """Read, resize and crop a picture as in validation and test."""
    try:
        decoded = reader.read(path, views.square or views.shape)
    except UnreadableImage as error:
        return _PreparedPicture(path, str(error), (0, 0), Area(), (), np.empty((0, 0, 0, 3), np.uint8))
    resized = decoded.pixels
    shape, area = (resized.shape[0], resized.shape[1]), views.area(decoded.height, decoded.width)
    cut = views.evaluation_views(shape)
    return _PreparedPicture(path, None, shape, area, cut, np.stack([views.cut(resized, view) for view in cut]))


def _groups(pictures: Iterable[_PreparedPicture], batch_size: int) -> Iterator[list[_PreparedPicture]]:
    """Groups of pictures with at least a batch of views together, or at most `batch_size` pictures."""
    group: list[_PreparedPicture] = []
    for picture in pictures:
        group.append(picture)
        if len(group) >= batch_size or sum(len(member.views) for member in group) >= batch_size:
            yield group
            group = []
    if group:
        yield group


def _predictions(
    model: BundleModel, group: list[_PreparedPicture], batch_size: int, quantile: float | None
) -> Iterator[Prediction]:
    tiles = [tile for picture in group for tile in picture.pixels]
    batches = [model(np.stack(tiles[start : start + batch_size])) for start in range(0, len(tiles), batch_size)]
    outputs = (view for batch in batches for view in _by_view(batch))
    for picture in group:
        if picture.error is None:
            yield _prediction(model, picture, list(islice(outputs, len(picture.views))), quantile)
        else:
            yield Prediction(picture.path, picture.error)


def _by_view(batch: ModelOutputs) -> Iterator[_ViewOutputs]:
    maps, masks = (repeat(None) if each is None else each for each in (batch.activation_map, batch.object_mask))
    return map(_ViewOutputs, batch.probabilities, batch.score, maps, masks)


def _stacked(maps: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    found = [each for each in maps if each is not None]
    return np.stack(found) if found else None


def _prediction(
    model: BundleModel, picture: _PreparedPicture, views: list[_ViewOutputs], quantile: float | None
) -> Prediction:
    probabilities = np.mean([view.probabilities for view in views], axis=0)
    score = float(np.mean([view.score for view in views]))
    if not (np.isfinite(probabilities).all() and np.isfinite(score)):
        return Prediction(picture.path, "the network returns NaN or infinite values for this picture")
    return Prediction(
        path=picture.path,
        probabilities=probabilities,
        score=score,
        unknown=score < model.bundle.files[model.file]["threshold"],
        prediction_set=None if quantile is None else _prediction_set(model.bundle.classes, probabilities, quantile),
        viewed=ViewedPicture(
            picture.shape,
            picture.area,
            picture.views,
            _stacked([view.activation_map for view in views]),
            _stacked([view.object_mask for view in views]),
        ),
    )


def _prediction_set(classes: tuple[str, ...], probabilities: NDArray[np.float32], quantile: float) -> tuple[str, ...]:
    return tuple(name for name, share in zip(classes, probabilities, strict=True) if 1 - float(share) <= quantile)
