"""What a run answered to each test picture: `test_predictions.csv` and `split.csv` of its folder."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.results import Run

PREDICTIONS_NAME = "test_predictions.csv"
SPLIT_NAME = "split.csv"
_FIXED = ("name", "label", "predicted", "confidence")
_RATIOS = ("object_ratio", "true_object_ratio")  # files of earlier versions lack these
COLUMNS = (*_FIXED, *_RATIOS)  # then a column a class


@dataclass(frozen=True)
class TestPredictions:
    """The answers of one run under its configured reading, sorted by the names of the P pictures.

    Attributes:
        names: P names, each once.
        correct: [P], 1 or 0.
        object_ratio: [P], share of the picture that the network took for object, 0..1; NaN where nobody knows.
        true_object_ratio: [P], the same by the masks of the data set.
    """

    names: tuple[str, ...]
    correct: NDArray[np.float64]
    object_ratio: NDArray[np.float64]
    true_object_ratio: NDArray[np.float64]


def read_predictions(run: Run) -> TestPredictions:
    """Read the answers of a run that finished.

    Raises:
        UserError: the file is missing or damaged, or holds other classes or another accuracy than the run's record.
    """
    folder, result = run
    path = folder / PREDICTIONS_NAME
    classes = result["data"]["classes"] if result["data"] else []
    try:
        header, *rows = _read(path)
        with_ratios = header == [*COLUMNS, *classes]
        if not with_ratios and header != [*_FIXED, *classes]:
            raise ValueError("its columns are not those of the run's classes")
        # By position: a class may be called like a column.
        rows.sort(key=lambda row: row[0])
        predictions = TestPredictions(
            names=tuple(row[0] for row in rows),
            correct=np.array([float(row[1] == row[2]) for row in rows]),
            object_ratio=_numbers([row[4] if with_ratios else "" for row in rows]),
            true_object_ratio=_numbers([row[5] if with_ratios else "" for row in rows]),
        )
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be used: {error}.") from error
    _check_against(run, predictions, path)
    return predictions


def read_clusters(folder: Path, names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each picture: the same for those of one group, or for exact copies where there are no groups.

    Raises:
        UserError: the split of the run is missing or damaged, or does not know one of the pictures.
    """
    path = folder / SPLIT_NAME
    try:
        header, *rows = _read(path)
        name, digest, group = (header.index(column) for column in ("name", "digest", "group"))
        clusters = {row[name]: ("group", row[group]) if row[group] else ("digest", row[digest]) for row in rows}
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be used: {error}.") from error
    unknown = [each for each in names if each not in clusters]
    if unknown:
        raise UserError(f"{path} does not know the tested picture {unknown[0]}.")
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(clusters[each], len(numbers)) for each in names], dtype=np.int64)


def _check_against(run: Run, predictions: TestPredictions, path: Path) -> None:
    _, result = run
    if not (result["metrics"] and result["inference_mode"] in result["metrics"]["test"]):
        raise UserError(f"{path} belongs to a reading that the run's record does not have.")
    recorded = result["metrics"]["test"][result["inference_mode"]]
    number = len(predictions.names)
    if len(set(predictions.names)) != number or number != recorded["images"]:
        raise UserError(f"{path} does not list each of the {recorded['images']} test pictures once.")
    # Two classes with the same probability may be told apart before rounding only: one picture of doubt.
    if abs(predictions.correct.sum() - recorded["accuracy"] * number) > 1.5:
        raise UserError(f"{path} belongs to another run: its accuracy is not that of result.json.")


def _read(path: Path) -> list[list[str]]:
    try:
        # A file name out of an old archive need not be UTF-8.
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.reader(file))
    except (OSError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({getattr(error, 'strerror', error)}).") from error


def _numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([float(text) if text else np.nan for text in texts])
