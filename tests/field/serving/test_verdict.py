from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serving.verdict import State, usual_coverage, verdict
from tests.field.conftest import MakeBundle

CLASSES = ("a", "b", "c")


def judged(
    *probabilities: float, prediction_set: tuple[str, ...] | None = None, unknown: bool = False
) -> tuple[State, tuple[str, ...]]:
    prediction = Prediction(
        Path("photograph.jpg"),
        probabilities=np.array(probabilities, np.float32),
        score=1.0,
        unknown=unknown,
        prediction_set=prediction_set,
    )
    result = verdict(prediction, CLASSES)
    return result.state, result.plausible


def test_one_plausible_class_is_sure() -> None:
    assert judged(0.05, 0.95, 0, prediction_set=("b",)) == (State.SURE, ("b",))
    assert judged(0.05, 0.95, 0) == (State.SURE, ("b",))


def test_a_prediction_set_of_several_classes_is_doubtful() -> None:
    assert judged(0.2, 0.75, 0.05, prediction_set=("a", "b")) == (State.DOUBTFUL, ("b", "a"))


def test_a_close_rival_is_doubtful_even_outside_the_prediction_set() -> None:
    assert judged(0.44, 0.42, 0.14, prediction_set=("a",)) == (State.DOUBTFUL, ("a", "b"))


def test_less_than_half_is_never_sure() -> None:
    assert judged(0.45, 0.2, 0.2, prediction_set=("a",)) == (State.DOUBTFUL, ("a",))


def test_an_empty_prediction_set_is_doubtful() -> None:
    assert judged(0.8, 0.1, 0.1, prediction_set=()) == (State.DOUBTFUL, ("a",))


def test_without_prediction_sets_the_probabilities_add_up_to_the_coverage() -> None:
    assert judged(0.7, 0.25, 0.05) == (State.DOUBTFUL, ("a", "b"))
    assert judged(0.7, 0.16, 0.14) == (State.DOUBTFUL, ("a", "b", "c"))


def test_unknown_takes_precedence() -> None:
    assert judged(1, 0, 0, prediction_set=("a",), unknown=True) == (State.UNKNOWN, ("a",))


def test_an_unreadable_file_has_no_classes() -> None:
    result = verdict(Prediction(Path("photograph.jpg"), "damaged"), CLASSES)
    assert (result.state, result.plausible) == (State.UNREADABLE, ())


@pytest.mark.parametrize(
    ("quantiles", "expected"), [({"0.8": 0.5, "0.95": 0.7}, 0.95), ({"0.9": 0.6, "0.99": 1.0}, 0.9), ({}, None)]
)
def test_the_coverage_closest_to_nine_tenths_is_used(
    make_bundle: MakeBundle, quantiles: dict[str, float], expected: float | None
) -> None:
    model = BundleModel(read_bundle(make_bundle(file={"quantiles": quantiles})))
    assert usual_coverage(model) == expected
