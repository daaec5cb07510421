from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.search_space import read_space

CONFIG = {"optimisation.rate": 0.01, "model.pairs": 3, "model.alpha": "area", "loss.center": 0.5, "data.crop": None}


def test_each_kind_of_range_becomes_its_distribution() -> None:
    section = {
        "optimisation": {"rate": {"low": 1e-4, "high": 0.1, "log": True}},
        "model": {"pairs": {"low": 1, "high": 5, "step": 2}, "alpha": {"choices": ["off", "area", 0.5, None]}},
        "data.crop": {"choices": [None, 64]},
    }
    assert read_space(section, CONFIG) == {
        "optimisation.rate": FloatDistribution(1e-4, 0.1, log=True),
        "model.pairs": IntDistribution(1, 5, step=2),
        "model.alpha": CategoricalDistribution(["off", "area", 0.5, None]),
        "data.crop": CategoricalDistribution([None, 64]),
    }


def test_whole_bounds_do_not_make_a_fraction_an_integer() -> None:
    section = {"loss": {"center": {"low": 0, "high": 1}}}
    assert read_space(section, CONFIG) == {"loss.center": FloatDistribution(0, 1)}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "search.space is empty"),
        ({"loss": {"centre": {"low": 0, "high": 1}}}, "search.space.loss.centre: .* did you mean loss.center"),
        ({"loss": {"center": 0.5}}, "search.space.loss.center=0.5: give a range"),
        ({"loss": {"center": {"low": 0}}}, "search.space.loss.center is invalid: it has low instead of"),
        ({"loss": {"center": {"low": 0, "high": 1, "size": 3}}}, "it has high, low, size instead of"),
        ({"loss": {"center": {"low": 1, "high": 0}}}, "search.space.loss.center is invalid"),
        ({"loss": {"center": {"low": 0, "high": 1, "log": True}}}, "search.space.loss.center is invalid"),
        ({"loss": {"center": {"low": "none", "high": 1}}}, "search.space.loss.center is invalid"),
        ({"loss": {"center": {"low": 0.6, "high": 1}}}, "excludes loss.center=0.5"),
        ({"model": {"alpha": {"choices": ["off", "soft"]}}}, "excludes model.alpha=area"),
        ({"model": {"alpha": {"choices": "area"}}}, "choices=area is not a list"),
        ({"data": {"crop": {"low": 32, "high": 64}}}, "excludes data.crop=None"),
    ],
)
def test_an_invalid_range_is_named(section: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_space(section, CONFIG)
