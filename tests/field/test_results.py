"""Predictions as rows and lines."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.results import PredictionTable, csv_line, shown

CLASSES = ("granite", "basalt", "gneiss", "schist")
PREDICTION = Prediction(
    Path("a.jpg"),
    probabilities=np.array([0.1, 0.6, 0.1, 0.2], np.float32),
    score=0.6123456789,
    unknown=False,
    prediction_set=("basalt", "schist"),
)


def test_the_most_likely_classes_come_first() -> None:
    assert PredictionTable(CLASSES, top=3).row(PREDICTION) == {
        "path": "a.jpg",
        **{"class_1": "basalt", "probability_1": 0.6, "class_2": "schist", "probability_2": 0.2},
        **{"class_3": "granite", "probability_3": 0.1, "unknown": False, "score": 0.612346, "error": None},
    }


def test_no_more_classes_are_named_than_there_are() -> None:
    table = PredictionTable(CLASSES, top=100, sets=True)
    assert list(table.row(PREDICTION)) == table.columns
    assert table.columns[-5:] == ["probability_4", "unknown", "score", "prediction_set", "error"]
    assert table.row(PREDICTION)["prediction_set"] == ["basalt", "schist"]


def test_a_file_that_cannot_be_read_has_only_the_reason() -> None:
    row = PredictionTable(CLASSES).row(Prediction(Path("a.jpg"), "two\nlines \x1b[31m"))
    assert {column: cell for column, cell in row.items() if cell is not None} == {
        "path": "a.jpg",
        "error": "two lines ?[31m",
    }


def test_a_line_of_csv_is_one_line_and_read_back() -> None:
    cells = ["a,b.jpg", 'say "rock"', 0.5, True, False, None, ["basalt", "schist"]]
    line = csv_line(cells)
    assert line.count("\n") == 1
    assert next(csv.reader([line])) == ["a,b.jpg", 'say "rock"', "0.5", "true", "false", "", "basalt; schist"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"Gr\xc3\xb6\xc3\x9fe \xe7\x8e\x84.jpg", "Größe 玄.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        (b"two\nlines\x1b[31m.jpg", "two\\nlines\\x1b[31m.jpg"),
        (b"=1+1.jpg", "./=1+1.jpg"),
        (b"-rock.jpg", "./-rock.jpg"),
        (b"/abs/=1.jpg", "/abs/=1.jpg"),
    ],
)
def test_paths_are_readable_and_no_formula(name: bytes, text: str) -> None:
    assert shown(Path(os.fsdecode(name))) == text
