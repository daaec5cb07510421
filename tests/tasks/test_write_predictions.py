import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.tasks.outcome import write_predictions_on
from tests.data.test_datamodule import folder_of_rocks, prepared

PREDICTIONS: NDArray[np.float32] = np.array(
    [[0.5, 0.3, 0.2], [0.9, 0.06, 0.04], [0.01, 0.04, 0.95], [0.6, 0.3, 0.1]], np.float32
)
NAMES = ["basalt/00.png", "granite/03.png", "marble/01.png", "granite/04.png"]


def written(root: Path, ratios: NDArray[np.float32] | None = None) -> list[list[str]]:
    data = prepared(root)
    path = root.parent / "predictions.csv"
    known = [picture.name for picture in data.index.pictures]
    write_predictions_on(data, [known.index(name) for name in NAMES], PREDICTIONS, ratios, path)
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def rocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return folder_of_rocks(tmp_path / "rocks")


def test_predictions_are_listed_worst_first(rocks: Path) -> None:
    ratios: NDArray[np.float32] = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    assert written(rocks, ratios) == [
        [
            "name",
            "label",
            "predicted",
            "confidence",
            "object_ratio",
            "true_object_ratio",
            "basalt",
            "granite",
            "marble",
        ],
        ["granite/03.png", "granite", "basalt", "0.9000", "0.2000", "", "0.9000", "0.0600", "0.0400"],
        ["granite/04.png", "granite", "basalt", "0.6000", "0.4000", "", "0.6000", "0.3000", "0.1000"],
        ["basalt/00.png", "basalt", "basalt", "0.5000", "0.1000", "", "0.5000", "0.3000", "0.2000"],
        ["marble/01.png", "marble", "marble", "0.9500", "0.3000", "", "0.0100", "0.0400", "0.9500"],
    ]


def test_the_true_object_ratio_is_that_of_the_evaluation_view(rocks: Path) -> None:
    place = rocks / "masks" / "granite"
    place.mkdir(parents=True)
    mask = np.zeros((12, 12), np.uint8)
    mask[:, :3] = 255  # a quarter of the picture, of which 2 of 16 columns are in the central view
    Image.fromarray(mask).save(place / "04.png")
    lines = written(rocks)
    assert [line[4:6] for line in lines[1:]] == [["", ""], ["", "0.1250"], ["", ""], ["", ""]]
