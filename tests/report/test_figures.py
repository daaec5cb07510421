import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.figures import confusion_matrix, learning_curves

BLUE, VERMILION = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)

METRICS = """\
epoch,step,lr-SGD,train/accuracy,train/loss,val/accuracy,val/loss
0,0,0.10,,,,
0,1,0.08,,,,
0,1,,,,0.50,1.20
0,1,,0.40,1.00,,
1,2,0.06,,,,
1,3,,,,0.75,0.90
1,3,,0.60,0.50,,
2,5,,,,0.75,0.80
2,5,,0.70,0.30,,
"""


def pixels(path: Path) -> np.ndarray:
    image: np.ndarray = np.rint(255 * np.asarray(imread(path))[..., :3]).astype(int)
    return image


def number_of(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == colour).all(axis=-1).sum())


@pytest.fixture
def metrics_csv(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS, encoding="utf-8")
    return path


@pytest.mark.parametrize("number", [3, 12])
def test_a_confusion_matrix_colours_its_diagonal(tmp_path: Path, number: int) -> None:
    path = tmp_path / "confusion.png"
    confusion_matrix(12 * np.eye(number, dtype=int), [f"vesicular basalt number {i}" for i in range(number)], path)

    image = pixels(path)
    darkest = (8, 48, 107)
    # The colour bar ends in the darkest blue as well, but is narrower than one cell of the picture.
    columns_with_blue = int((image == darkest).all(axis=-1).any(axis=0).sum())
    side = 150 * min(max(7 / number, 0.34), 1.5) * number
    assert columns_with_blue == pytest.approx(side, rel=0.25)
    assert number_of(image, (255, 255, 255)) > 0.05 * image.shape[0] * image.shape[1]


def test_counts_and_colour_by_row_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "confusion.svg"
    # Text as text, so that it can be searched.
    with_text = "import sys, matplotlib; matplotlib.rcParams['svg.fonttype'] = 'none';"
    call = "from fpcn_lightning.report.figures import *; "
    call += f"confusion_matrix([[3, 1], [0, 0]], ['a$b', 'c$d'], Path({str(path)!r})); "
    no_globals = "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", with_text + call + no_globals], check=True)

    text = path.read_text(encoding="utf-8")
    assert all(f">{word}<" in text for word in ("3", "75 %", "a$b", "c$d", "75.0% of 4 images correct", "true class"))
    assert text.count(">0<") == 1, "empty cells stay blank: the only zero stands at the colour bar"


def test_an_empty_test_set_is_drawn_without_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    confusion_matrix(np.zeros((2, 2)), ["a", "b"], tmp_path / "confusion.png")
    assert not recwarn.list


@pytest.mark.parametrize("shape", [(2, 3), (3, 3), (2,)])
def test_a_matrix_that_does_not_fit_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit 2 classes"):
        confusion_matrix(np.zeros(shape), ["a", "b"], tmp_path / "confusion.png")


def test_learning_curves_show_both_sides(tmp_path: Path, metrics_csv: Path) -> None:
    path = tmp_path / "curves.png"
    learning_curves(metrics_csv, path)

    image = pixels(path)
    left, right = np.array_split(image, 2, axis=1)
    assert all(number_of(panel, colour) > 300 for panel in (left, right) for colour in (BLUE, VERMILION))


@pytest.mark.parametrize(
    ("content", "best"),
    [
        (METRICS, 2),  # the first of two equal accuracies
        ("epoch,val/loss\n0,2\n1,1\n2,3\n3,nan\n", 2),
        ("epoch,val/accuracy,train/loss_epoch\n0,nan,1\n1,0.2,1\n", 2),
    ],
)
def test_the_best_validation_epoch_is_marked(tmp_path: Path, content: str, best: int) -> None:
    metrics_csv, path = tmp_path / "metrics.csv", tmp_path / "curves.svg"
    metrics_csv.write_text(content, encoding="utf-8")
    learning_curves(metrics_csv, path)
    # matplotlib writes each text it draws as outlines into a comment.
    assert f"<!-- best validation epoch: {best} -->" in path.read_text(encoding="utf-8")


def test_training_without_validation_marks_nothing(tmp_path: Path) -> None:
    metrics_csv, path = tmp_path / "metrics.csv", tmp_path / "curves.svg"
    metrics_csv.write_text("epoch,train/loss\n0,1\n1,0.5\n", encoding="utf-8")
    learning_curves(metrics_csv, path)
    text = path.read_text(encoding="utf-8")
    assert "<!-- training -->" in text
    assert "<!-- not logged -->" in text
    assert "validation" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "neither loss nor accuracy"),
        ("epoch,lr-SGD\n0,0.1\n", "neither loss nor accuracy"),
        ("step,val/loss\n0,0.1\n", "not a metrics file"),
        ("epoch,val/loss\n0,high\n", "not a metrics file"),
        ("epoch,val/loss\nlast,1\n", "not a metrics file"),
        ("epoch,lr-SGD\n,0.1\n", "neither loss nor accuracy"),  # the learning rate monitor logs by step alone
        ("epoch,val/loss\n0,1,2\n", "not a metrics file"),
    ],
)
def test_an_unusable_metrics_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    metrics_csv = tmp_path / "metrics.csv"
    if content is not None:
        metrics_csv.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"metrics\.csv.*{message}"):
        learning_curves(metrics_csv, tmp_path / "curves.png")


@pytest.mark.parametrize("number", [41, 1000])
def test_beyond_forty_classes_the_most_frequent_confusions_are_drawn(tmp_path: Path, number: int) -> None:
    matrix = 5 * np.eye(number, dtype=int)
    matrix[3, 7], matrix[8, 2] = 20, 4
    path = tmp_path / "confusion.svg"
    with_text = "import sys, matplotlib; matplotlib.rcParams['svg.fonttype'] = 'none';"
    np.save(tmp_path / "matrix.npy", matrix)
    call = "from fpcn_lightning.report.figures import *; import resource; "
    call += (
        f"m = np.load({str(tmp_path / 'matrix.npy')!r}); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
    )
    call += f"confusion_matrix(m, [f'rock {{i}}' for i in range({number})], Path({str(path)!r})); "
    # Cell by cell, 100 classes took 1.4 GB.
    call += "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000"
    subprocess.run([sys.executable, "-c", with_text + call], check=True)
    text = path.read_text(encoding="utf-8")
    assert text.index("rock 3 as rock 7") < text.index("rock 8 as rock 2")
    assert "80% of the class" in text
    assert f"{number} classes" in text
    assert text.count(" as rock") == 2
    assert len(text) < 200_000


def test_many_classes_without_an_error_are_drawn(tmp_path: Path) -> None:
    confusion_matrix(np.eye(50, dtype=int), [str(number) for number in range(50)], tmp_path / "confusion.png")
    confusion_matrix(np.zeros((50, 50)), [str(number) for number in range(50)], tmp_path / "confusion.png")
