"""The rule by which a model may not be used, and where its verdict is shown."""

import csv
from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.command import main
from fpcn_lightning.field.measures import calibration_error, error_by_chance
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serving.about import about
from fpcn_lightning.field.serving.page import rendered
from fpcn_lightning.field.serving.pictures import csv_of
from fpcn_lightning.field.usability import MIN_VALIDATION_PICTURES, Usability, judge
from fpcn_lightning.intervals import wilson_interval
from tests.field.conftest import MakeBundle, paint

REASONS = ["accuracy 34 % is not above 33 %", "6 validation pictures are too few"]


def predictions(right: int, total: int, confidence: float, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of pictures that all get class 0 or the class after their own, and their labels in turn."""
    labels = np.arange(total) % classes
    named = np.where(np.arange(total) < right, labels, (labels + 1) % classes)
    probabilities = np.full((total, classes), (1 - confidence) / (classes - 1))
    probabilities[np.arange(total), named] = confidence
    return probabilities, labels


def reasons(right: int, total: int, confidence: float, validation: int = 100) -> list[str]:
    return [
        reason.split()[0]
        for reason in judge(
            *predictions(right, total, confidence), split="test", validation_pictures=validation
        ).reasons
    ]


def test_a_good_model_is_usable() -> None:
    assert reasons(90, 100, 0.9) == []


def test_a_model_near_chance_is_not_usable() -> None:
    assert reasons(12, 30, 0.4) == ["accuracy"]
    assert reasons(24, 60, 0.4) == ["accuracy"]  # 40 %, but its interval begins at 29 %
    assert reasons(60, 100, 0.6) == []


def test_a_model_that_names_the_largest_class_is_not_usable() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    probabilities = np.tile([0.8, 0.2], (100, 1))
    found = judge(probabilities, labels, split="test", validation_pictures=100)
    assert [reason.split()[0] for reason in found.reasons] == ["accuracy"]


def test_too_few_validation_pictures_cannot_calibrate() -> None:
    assert reasons(90, 100, 0.9, MIN_VALIDATION_PICTURES - 1) == [str(MIN_VALIDATION_PICTURES - 1)]
    assert reasons(90, 100, 0.9, MIN_VALIDATION_PICTURES) == []


def test_wrong_probabilities_are_told_from_chance() -> None:
    assert reasons(65, 100, 0.98) == ["calibration"]
    # The same error on few pictures is within what calibrated predictions show.
    assert calibration_error(np.full(5, 0.75), np.array([True, True, True, False, False])) == pytest.approx(0.15)
    assert error_by_chance(np.full(5, 0.75)) > 0.3


def test_error_by_chance_is_exceeded_by_one_in_twenty() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.3, 1.0, 60)
    limit = error_by_chance(confidence)
    above = [calibration_error(confidence, random.random(60) < confidence) > limit for _ in range(2000)]
    assert 0.035 < np.mean(above) < 0.065


def test_the_interval_of_wilson() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    # Newcombe, Statistics in Medicine 1998, table I, method 3.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(29, 29) == pytest.approx((0.8830, 1.0), abs=1e-4)


def test_a_bundle_without_a_verdict_is_read(bundle_folder: Path) -> None:
    assert read_bundle(bundle_folder).usability == Usability()


@pytest.mark.parametrize("value", ["text", [1], ["a\x1b[31m"], ["x"] * 11])
def test_a_damaged_verdict_is_refused(make_bundle: MakeBundle, value: object) -> None:
    with pytest.raises(UserError, match="not_usable"):
        read_bundle(make_bundle(not_usable=value))


def test_all_that_shows_a_model_shows_that_it_is_not_usable(
    make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(not_usable=REASONS)
    picture = paint(tmp_path / "pictures" / "red.png")
    assert main(["info", str(bundle)]) == 0
    assert "NOT USABLE  accuracy 34 % is not above 33 %; 6 validation" in capsys.readouterr().out
    assert main(["predict", str(bundle), str(picture)]) == 0
    assert capsys.readouterr().out.startswith("The model is not usable: accuracy 34 %")
    output = tmp_path / "predictions.csv"
    assert main(["predict", str(bundle), str(picture.parent), "--output", str(output)]) == 0
    assert capsys.readouterr().out.startswith("The model is not usable: accuracy 34 %")
    with output.open(encoding="utf-8-sig", newline="") as file:
        assert [row["not_usable"] for row in csv.DictReader(file)] == ["; ".join(REASONS)]
    model = BundleModel(read_bundle(bundle))
    assert "not usable: accuracy 34 % is not above 33 %" in rendered("about", about(model))
    assert "not_usable" in csv_of([], model)


def test_a_usable_model_has_no_stamp(bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "predictions.csv"
    paint(tmp_path / "pictures" / "red.png")
    assert main(["predict", str(bundle_folder), str(tmp_path / "pictures"), "--output", str(output)]) == 0
    assert (
        "not usable"
        not in capsys.readouterr().out + output.read_text(encoding="utf-8").replace("_", " ").splitlines()[0]
    )
