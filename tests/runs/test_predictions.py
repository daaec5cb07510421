from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.predictions import read_clusters, read_predictions, read_wrong_predictions, write_predictions
from fpcn_lightning.runs.results import Result
from tests.report.run_folders import CLASSES, leave_run, leave_split, write_csv


def test_predictions_are_sorted_by_name_and_ratios_go_along(tmp_path: Path) -> None:
    ratios = [0.1, 0.2, 0.3, 0.4]
    result = leave_run(tmp_path, [1, 0, 1, 0], object_ratio=ratios, true_object_ratio=["", 0.5, "", 0.7])
    predictions = read_predictions((tmp_path, result))
    assert predictions.names == ("0000.jpg", "0001.jpg", "0002.jpg", "0003.jpg")
    assert predictions.correct.tolist() == [1, 0, 1, 0]
    assert predictions.object_ratio.tolist() == ratios
    np.testing.assert_array_equal(predictions.true_object_ratio, [np.nan, 0.5, np.nan, 0.7])


def rewrite(folder: Path, header: list[str], *rows: list[str]) -> None:
    write_csv(folder / "test_predictions.csv", [header, *rows])


FIXED = ["name", "label", "predicted", "confidence"]


def test_earlier_files_know_no_ratios(tmp_path: Path) -> None:
    result = leave_run(tmp_path, [1, 0])
    rows = [["a.jpg", "basalt", "basalt", "0.9", "0.9", "0.1"], ["b.jpg", "basalt", "гранит", "0.8", "0.2", "0.8"]]
    rewrite(tmp_path, [*FIXED, *CLASSES], *rows)
    predictions = read_predictions((tmp_path, result))
    assert predictions.correct.tolist() == [1, 0]
    assert np.isnan([predictions.object_ratio, predictions.true_object_ratio]).all()


def test_wrong_predictions_are_the_worst_first_and_no_more_than_wanted(tmp_path: Path) -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.8, 0.2]], np.float32)
    names = ["=right.jpg", "bad.jpg", "=worst.jpg", "other.jpg"]
    write_predictions(tmp_path / "test_predictions.csv", names, [0, 0, 0, 1], ["basalt", "=гранит"], probabilities)
    found = read_wrong_predictions(tmp_path, ["basalt", "=гранит"], 10)
    assert [(each.name, each.label, each.predicted) for each in found] == [
        ("=worst.jpg", "basalt", "=гранит"),
        ("other.jpg", "=гранит", "basalt"),
        ("bad.jpg", "basalt", "=гранит"),
    ]
    assert [(each.probability, each.probability_of_label) for each in found] == [(0.9, 0.1), (0.8, 0.2), (0.7, 0.3)]
    assert read_wrong_predictions(tmp_path, ["basalt", "=гранит"], 2) == found[:2]


def test_wrong_predictions_of_other_classes_or_none_are_an_error(tmp_path: Path) -> None:
    leave_run(tmp_path, [0, 0])
    with pytest.raises(UserError, match="cannot be used"):
        read_wrong_predictions(tmp_path, ["tuff", "гранит"], 3)
    (tmp_path / "test_predictions.csv").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_wrong_predictions(tmp_path, CLASSES, 3)


def test_classes_may_be_called_like_columns(tmp_path: Path) -> None:
    result = leave_run(tmp_path, [1, 0])
    assert result["data"]
    result["data"]["classes"] = ["name", "object_ratio"]
    header = [*FIXED, "object_ratio", "true_object_ratio", "name", "object_ratio"]
    rows = [
        ["a.jpg", "name", "name", "0.9", "0.3", "", "0.9", "0.1"],
        ["b.jpg", "name", "object_ratio", "0.8", "0.4", "", "0.2", "0.8"],
    ]
    rewrite(tmp_path, header, *rows)
    predictions = read_predictions((tmp_path, result))
    assert (predictions.names, predictions.correct.tolist()) == (("a.jpg", "b.jpg"), [1, 0])
    assert predictions.object_ratio.tolist() == [0.3, 0.4]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ([*FIXED, "other"], [], "columns are not those of the run's classes"),
        ([*FIXED, *CLASSES], [["a.jpg", "basalt"]], "cannot be used"),
        (
            [*FIXED, *CLASSES],
            [["a.jpg", "basalt", "basalt", "0.9", "0.9", "0.1"]],
            "does not list each of the 10 test pictures once",
        ),
        (
            [*FIXED, *CLASSES],
            10 * [["a.jpg", "basalt", "basalt", "0.9", "0.9", "0.1"]],
            "does not list each of the 10 test pictures once",
        ),
        (
            [*FIXED, *CLASSES],
            [[f"{number}.jpg", "basalt", "гранит", "0.8", "0.2", "0.8"] for number in range(10)],
            "its accuracy is not that of result.json",
        ),
    ],
)
def test_predictions_that_cannot_be_those_of_the_run_are_named(
    tmp_path: Path, header: list[str], rows: list[list[str]], message: str
) -> None:
    result = leave_run(tmp_path, 10 * [1])
    rewrite(tmp_path, header, *rows)
    with pytest.raises(UserError, match=rf"test_predictions\.csv.*{message}"):
        read_predictions((tmp_path, result))


@pytest.mark.parametrize("content", [b"", b"name,label\x00"])
def test_damaged_predictions_are_named(tmp_path: Path, content: bytes) -> None:
    result: Result = leave_run(tmp_path, 10 * [1])
    (tmp_path / "test_predictions.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"test_predictions\.csv"):
        read_predictions((tmp_path, result))


def test_predictions_are_written_worst_first_and_read_back(tmp_path: Path) -> None:
    """A class may be called like a column, and a ratio be unknown."""
    probabilities = np.array([[0.4, 0.6], [0.125, 0.875], [0.9, 0.1], [0.6, 0.4]], np.float32)
    names, labels = ["b.jpg", "\udce9.jpg", "a.jpg", "c,d.jpg"], [0, 1, 1, 0]
    ratios = np.array([0.1, 0.2, np.nan, 0.4], np.float32)
    result = leave_run(tmp_path, [0, 1, 0, 1])
    path = tmp_path / "test_predictions.csv"
    write_predictions(path, names, labels, CLASSES, probabilities, ratios)
    lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    assert lines == [
        "name,label,predicted,confidence,object_ratio,true_object_ratio,basalt,гранит",
        "a.jpg,гранит,basalt,0.9000,,,0.9000,0.1000",
        "b.jpg,basalt,гранит,0.6000,0.1000,,0.4000,0.6000",
        '"c,d.jpg",basalt,basalt,0.6000,0.4000,,0.6000,0.4000',
        "\udce9.jpg,гранит,гранит,0.8750,0.2000,,0.1250,0.8750",
    ]
    predictions = read_predictions((tmp_path, result))
    assert predictions.names == ("a.jpg", "b.jpg", "c,d.jpg", "\udce9.jpg")
    assert predictions.correct.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(predictions.object_ratio, [np.nan, 0.1, 0.4, 0.2])
    assert np.isnan(predictions.true_object_ratio).all()


def test_missing_predictions_are_named(tmp_path: Path) -> None:
    result = leave_run(tmp_path, 10 * [1])
    (tmp_path / "test_predictions.csv").unlink()
    with pytest.raises(UserError, match=r"test_predictions\.csv cannot be read"):
        read_predictions((tmp_path, result))


def test_groups_and_copies_are_drawn_together(tmp_path: Path) -> None:
    leave_split(tmp_path, ["s1", "", "s1", ""])
    names = [f"{number:04}.jpg" for number in range(4)]
    assert read_clusters(tmp_path, names).tolist() == [0, 1, 0, 2]
    rows = [["a", "digest-1", ""], ["b", "digest-2", ""], ["c", "digest-1", ""], ["d", "", "digest-1"]]
    write_csv(tmp_path / "split.csv", [["name", "digest", "group"], *rows])
    assert read_clusters(tmp_path, ["c", "b", "a", "d"]).tolist() == [0, 1, 0, 2]


def test_a_split_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.csv cannot be read"):
        read_clusters(tmp_path, ["a"])
    leave_split(tmp_path, [""])
    with pytest.raises(UserError, match=r"split\.csv does not list the test picture a"):
        read_clusters(tmp_path, ["0000.jpg", "a"])
    (tmp_path / "split.csv").write_text("name,side\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"split\.csv cannot be used"):
        read_clusters(tmp_path, ["a"])


@pytest.mark.parametrize(
    "shares", [["1.2", "-0.2"], ["nan", "nan"], ["0.9", "0.3"], ["0", "0"], ["inf", "0"], ["0.5"], ["0.5", "x"]]
)
def test_numbers_that_are_no_probabilities_are_refused(tmp_path: Path, shares: list[str]) -> None:
    result = leave_run(tmp_path, [1, 0])
    rewrite(tmp_path, [*FIXED, *CLASSES], ["a.jpg", "basalt", "basalt", shares[0], *shares])
    with pytest.raises(UserError, match=r"test_predictions\.csv cannot be used"):
        read_predictions((tmp_path, result))


@pytest.mark.parametrize("ratio", ["1.5", "-0.1"])
def test_object_ratios_are_shares(tmp_path: Path, ratio: str) -> None:
    result = leave_run(tmp_path, [1, 0])
    header = [*FIXED, "object_ratio", "true_object_ratio", *CLASSES]
    rewrite(tmp_path, header, ["a.jpg", "basalt", "basalt", "0.9", ratio, "", "0.9", "0.1"])
    with pytest.raises(UserError, match=r"object ratio is not in 0\.\.1"):
        read_predictions((tmp_path, result))


def test_names_that_look_like_formulas_are_written_as_text_and_read_back(tmp_path: Path) -> None:
    result = leave_run(tmp_path, [1, 0])
    names, classes = ["=cmd.jpg", "-1+1.jpg"], ["=basalt", "+granite"]
    assert result["data"]
    result["data"]["classes"] = classes
    shares = np.array([[0.9, 0.1], [0.9, 0.1]], np.float32)
    write_predictions(tmp_path / "test_predictions.csv", names, [0, 1], classes, shares)
    text = (tmp_path / "test_predictions.csv").read_text(encoding="utf-8")
    assert not any(cell.startswith(("=", "+", "-")) for line in text.splitlines() for cell in line.split(","))
    assert read_predictions((tmp_path, result)).names == tuple(sorted(names))
