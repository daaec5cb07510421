"""What a run predicted for each test picture: `test_predictions.csv` of its folder, written and read.

The columns are name, label, predicted, confidence, object_ratio and true_object_ratio, then the probability of each
class. Reading also takes the clusters of the pictures from `split.csv`.
"""

import csv
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES, as_before, formula_free
from fpcn_lightning.runs.results import Run
from fpcn_lightning.runs.split_file import SPLIT_NAME, rows_of_csv

PREDICTIONS_NAME = "test_predictions.csv"
_FIXED = ("name", "label", "predicted", "confidence")
_RATIOS = ("object_ratio", "true_object_ratio")  # files of earlier versions lack these
COLUMNS = (*_FIXED, *_RATIOS)  # then a column a class
_ROUNDING = 0.5e-4  # of a probability in the file
_SUM_TOLERANCE = 1e-3  # of the sum in float32


@dataclass(frozen=True)
class WrongPrediction:
    """A test picture whose class was not predicted; probabilities in 0..1."""

    name: str
    label: str
    predicted: str
    probability: float  # of the predicted class
    probability_of_label: float


@dataclass(frozen=True)
class TestPredictions:
    """The predictions of one run under its configured inference mode, sorted by the names of the P pictures.

    Attributes:
        names: P names, each once.
        correct: [P], 1 or 0.
        object_ratio: [P], share of the picture that the network finds to be object, 0..1; NaN where it is unknown.
        true_object_ratio: [P], the same by the masks of the data set.
    """

    __test__ = False  # no test case, whatever pytest makes of the name

    names: tuple[str, ...]
    correct: NDArray[np.float64]
    object_ratio: NDArray[np.float64]
    true_object_ratio: NDArray[np.float64]


def write_predictions(
    path: Path,
    names: Sequence[str],
    labels: Sequence[int],
    classes: Sequence[str],
    probabilities: NDArray[np.float32],
    object_ratios: ArrayLike | None = None,
    true_object_ratios: ArrayLike | None = None,
) -> None:
    """Write predictions for P pictures of C classes, those with the least probability of the true class first.

    Args:
        path: file to write.
        names: P names.
        labels: P indices into `classes`.
        classes: C names.
        probabilities: [P, C].
        object_ratios: [P], share of each picture that the network finds to be object, 0..1; NaN where it is unknown.
        true_object_ratios: [P], the same by the masks of the data set.
    """
    true = np.asarray(labels, dtype=np.int64)
    order = np.argsort(probabilities[np.arange(len(true)), true], kind="stable")
    ratios = [_ratios(each, len(true)) for each in (object_ratios, true_object_ratios)]
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(map(formula_free, [*COLUMNS, *classes]))
        for row in order:
            best = int(probabilities[row].argmax())
            found = ("" if np.isnan(each[row]) else f"{each[row]:.4f}" for each in ratios)
            shares = [f"{probability:.4f}" for probability in probabilities[row]]
            texts = map(formula_free, (names[row], classes[true[row]], classes[best]))
            writer.writerow([*texts, shares[best], *found, *shares])


def read_predictions(run: Run) -> TestPredictions:
    """Read the predictions of a run that finished.

    Raises:
        UserError: the file is missing or damaged, or holds other classes or another accuracy than the run's record.
    """
    folder, result = run
    path = folder / PREDICTIONS_NAME
    classes = result["data"]["classes"] if result["data"] else []
    try:
        with closing(rows_of_csv(path)) as lines:
            header = [as_before(cell) for cell in next(lines, [])]
            with_ratios = header == [*COLUMNS, *classes]
            if not with_ratios and header != [*_FIXED, *classes]:
                raise ValueError("its columns are not those of the run's classes")
            # Without the probabilities, which are too many to keep where there are many classes.
            rows = sorted(_checked_row(row, len(header) - len(classes), len(classes)) for row in lines)
        predictions = TestPredictions(
            names=tuple(row[0] for row in rows),
            correct=np.array([float(row[1] == row[2]) for row in rows]),
            object_ratio=_ratio_column([row[4] if with_ratios else "" for row in rows]),
            true_object_ratio=_ratio_column([row[5] if with_ratios else "" for row in rows]),
        )
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be used: {error}.") from error
    _check_against(run, predictions, path)
    return predictions


def read_wrong_predictions(folder: Path, classes: Sequence[str], most: int) -> list[WrongPrediction]:
    """The wrong predictions of a run with the least probability of the true class, the worst first.

    Args:
        folder: of the run.
        classes: names in label order.
        most: number of predictions.

    Raises:
        UserError: the file is missing or damaged, or holds other classes.
    """
    path, column = folder / PREDICTIONS_NAME, {name: number for number, name in enumerate(classes)}
    found: list[WrongPrediction] = []
    try:
        with closing(rows_of_csv(path)) as lines:
            fixed = len(next(lines, [])) - len(classes)
            for row in lines:
                if len(found) == most:
                    break
                checked = _checked_row(row, fixed, len(classes))
                label, predicted = as_before(row[1]), as_before(row[2])
                if label != predicted:
                    of_label = float(row[fixed + column[label]])
                    found.append(WrongPrediction(checked[0], label, predicted, float(row[3]), of_label))
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path} cannot be used: {error}.") from error
    return found


def read_clusters(folder: Path, names: Sequence[str]) -> NDArray[np.int64]:
    """A number for each picture: the same for those of one group, or for exact copies where there are no groups.

    Raises:
        UserError: the split of the run is missing or damaged, or lacks one of the pictures.
    """
    path = folder / SPLIT_NAME
    try:
        header, *rows = rows_of_csv(path)
        name, digest, group = (header.index(column) for column in ("name", "digest", "group"))
        clusters = {row[name]: ("group", row[group]) if row[group] else ("digest", row[digest]) for row in rows}
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} cannot be used: {error}.") from error
    unknown = [each for each in names if each not in clusters]
    if unknown:
        raise UserError(f"{path} does not list the test picture {unknown[0]}.")
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(clusters[each], len(numbers)) for each in names], dtype=np.int64)


def _check_against(run: Run, predictions: TestPredictions, path: Path) -> None:
    _, result = run
    if not (result["metrics"] and result["inference_mode"] in result["metrics"]["test"]):
        raise UserError(f"{path} belongs to an inference mode that the run's record does not have.")
    recorded = result["metrics"]["test"][result["inference_mode"]]
    number = len(predictions.names)
    if len(set(predictions.names)) != number or number != recorded["images"]:
        raise UserError(f"{path} does not list each of the {recorded['images']} test pictures once.")
    # Two classes may have equal probabilities after rounding only: allow a difference of one picture.
    if abs(predictions.correct.sum() - recorded["accuracy"] * number) > 1.5:
        raise UserError(f"{path} belongs to another run: its accuracy is not that of result.json.")


def _checked_row(row: list[str], fixed: int, classes: int) -> list[str]:
    """The first `fixed` cells of a row, after checking the probabilities behind them."""
    # By position: a class may be called like a column.
    name, probabilities = as_before(row[0]), np.array(row[fixed:], dtype=np.float64)
    if len(probabilities) != classes:
        raise ValueError(f"the row of {name} has {len(probabilities)} probabilities, not {classes}")
    # NaN compares as false.
    inside = bool(((probabilities >= 0) & (probabilities <= 1)).all())
    if not inside or abs(probabilities.sum() - 1) > classes * _ROUNDING + _SUM_TOLERANCE:
        raise ValueError(f"the row of {name} has numbers that are no probabilities (in 0..1, with the sum 1)")
    return [name, *row[1:fixed]]


def _ratio_column(texts: Sequence[str]) -> NDArray[np.float64]:
    """Shares in 0..1; NaN for an empty text."""
    ratios = np.array([float(text or "nan") for text in texts])
    if any(text and not 0 <= ratio <= 1 for text, ratio in zip(texts, ratios, strict=True)):
        raise ValueError("an object ratio is not in 0..1")
    return ratios


def _ratios(values: ArrayLike | None, number: int) -> NDArray[np.float64]:
    return np.full(number, np.nan) if values is None else np.asarray(values, dtype=np.float64)
