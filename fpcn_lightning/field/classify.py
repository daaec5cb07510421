"""Photographs in, answers out: lazily, in batches of views, going on after a file that cannot be read."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.augment import Augmentation, View
from fpcn_lightning.data.images import MAX_PIXELS, Shape, UnreadableImage, decode, read_file
from fpcn_lightning.field.model import BundleModel, Outputs
from fpcn_lightning.field.prefetch import ahead

MOST_WORKERS = 4


@dataclass(frozen=True)
class Seen:
    """What the network saw of a picture.

    Attributes:
        shape: height and width in pixels that the picture was resized to.
        views: the square parts of that which were classified.
        activation_maps: float32 [V, C, h, w], of each view; None where the network gives none.
    """

    shape: Shape
    views: tuple[View, ...]
    activation_maps: NDArray[np.float32] | None


@dataclass(frozen=True)
class Prediction:
    """What is said of one file: everything from `probabilities` on, or `error`.

    Attributes:
        path: as given.
        error: why the file gives no answer.
        probabilities: float32 [C], calibrated, the mean over the views.
        score: higher for pictures of the kind that the network was trained with, the mean over the views.
        unknown: the score lies below the model file's threshold.
        prediction_set: classes that hold the truth in as large a share of pictures as was asked for; None unless asked.
        seen: where the network looked.
    """

    path: Path
    error: str | None = None
    probabilities: NDArray[np.float32] | None = None
    score: float | None = None
    unknown: bool | None = None
    prediction_set: tuple[str, ...] | None = None
    seen: Seen | None = None


class _Cut(NamedTuple):
    """A picture before it is classified."""

    path: Path
    error: str | None
    shape: Shape
    views: tuple[View, ...]
    pixels: NDArray[np.uint8]  # [V, S, S, 3]


class _Row(NamedTuple):
    """What the network says of one view."""

    probabilities: NDArray[np.float32]  # [C]
    score: np.float32
    activation_map: NDArray[np.float32] | None  # [C, h, w]


def classify_file(model: BundleModel, path: Path, *, coverage: float | None = None) -> Prediction:
    """Classify one picture; see `classify`."""
    return next(classify(model, [path], coverage=coverage))


def classify(
    model: BundleModel,
    paths: Iterable[Path],
    *,
    batch_size: int = 8,
    coverage: float | None = None,
    workers: int | None = None,
) -> Iterator[Prediction]:
    """Classify pictures, one answer each in the order of the paths.

    Args:
        model: a loaded bundle.
        paths: picture files, taken as they are needed.
        batch_size: views that are computed together.
        coverage: share of pictures of the trained kind whose prediction set shall hold the true class, one of those
            that the bundle was made with, such as 0.9; None asks for no sets.
        workers: threads that decode; None takes up to four.

    Raises:
        UserError: the bundle was not made with this coverage, or its network fails.
    """
    quantile = model.quantile(coverage)
    workers = workers or min(MOST_WORKERS, os.cpu_count() or 1)

    def cut(path: Path) -> _Cut:
        return _cut(model.bundle.views, path)

    groups = _groups(ahead(cut, paths, workers, max(batch_size, 2 * workers)), batch_size)
    return (prediction for group in groups for prediction in _predictions(model, group, batch_size, quantile))


def _cut(views: Augmentation, path: Path) -> _Cut:
    """Read, resize and cut a picture as in validation and test."""
    try:
        whole = _read(views, read_file(path))
    except UnreadableImage as error:
        return _Cut(path, str(error), (0, 0), (), np.empty((0, 0, 0, 3), np.uint8))
    shape = whole.shape[0], whole.shape[1]
    cut = views.evaluation_views(shape)
    return _Cut(path, None, shape, cut, np.stack([views.cut(whole, view) for view in cut]))


def _read(views: Augmentation, data: bytes) -> NDArray[np.uint8]:
    if views.squashed is not None:
        return decode(data, views.squashed).pixels
    decoded = decode(data)
    shape = views.shape(decoded.height, decoded.width)
    if shape == (decoded.height, decoded.width):
        return decoded.pixels
    if shape[0] * shape[1] > MAX_PIXELS:  # a line of one pixel would be enlarged to the side of a tile
        limit = f"the limit of {MAX_PIXELS // 10**6} million"
        raise UnreadableImage(f"{shape[1]} x {shape[0]} pixels, at the scale of this bundle, are more than {limit}")
    return decode(data, shape).pixels


def _groups(pictures: Iterable[_Cut], batch_size: int) -> Iterator[list[_Cut]]:
    """Pictures that have views for a batch together, or are as many as a batch has views."""
    group: list[_Cut] = []
    for picture in pictures:
        group.append(picture)
        if len(group) >= batch_size or sum(len(member.views) for member in group) >= batch_size:
            yield group
            group = []
    if group:
        yield group


def _predictions(
    model: BundleModel, group: list[_Cut], batch_size: int, quantile: float | None
) -> Iterator[Prediction]:
    tiles = [tile for picture in group for tile in picture.pixels]
    batches = [model(np.stack(tiles[start : start + batch_size])) for start in range(0, len(tiles), batch_size)]
    rows = (row for batch in batches for row in _rows(batch))
    for picture in group:
        if picture.error is None:
            yield _prediction(model, picture, list(islice(rows, len(picture.views))), quantile)
        else:
            yield Prediction(picture.path, picture.error)


def _rows(batch: Outputs) -> Iterator[_Row]:
    maps = repeat(None) if batch.activation_map is None else batch.activation_map
    return map(_Row, batch.probabilities, batch.score, maps)


def _prediction(model: BundleModel, picture: _Cut, rows: list[_Row], quantile: float | None) -> Prediction:
    probabilities = np.mean([row.probabilities for row in rows], axis=0)
    score = float(np.mean([row.score for row in rows]))
    if not (np.isfinite(probabilities).all() and np.isfinite(score)):
        return Prediction(picture.path, "the network gives no number for this picture")
    maps = [row.activation_map for row in rows if row.activation_map is not None]
    return Prediction(
        path=picture.path,
        probabilities=probabilities,
        score=score,
        unknown=score < model.bundle.files[model.file]["threshold"],
        prediction_set=None if quantile is None else _prediction_set(model.bundle.classes, probabilities, quantile),
        seen=Seen(picture.shape, picture.views, np.stack(maps) if maps else None),
    )


def _prediction_set(classes: tuple[str, ...], probabilities: NDArray[np.float32], quantile: float) -> tuple[str, ...]:
    return tuple(name for name, share in zip(classes, probabilities, strict=True) if 1 - float(share) <= quantile)
