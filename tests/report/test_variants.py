from collections.abc import Callable
from pathlib import Path

import pytest

from fpcn_lightning.report.variants import sort_into_variants
from fpcn_lightning.runs.plan import Plan, PlannedRun
from fpcn_lightning.runs.results import Result, Run
from tests.runs.test_results import make_failed, make_result


def runs_of(*results: Result) -> list[Run]:
    return [(Path(f"runs/{index}"), result) for index, result in enumerate(results)]


def change_theta(result: Result) -> None:
    result["config"]["model"] = {"theta": 0.9, "blocks": [1, 2]}


def add_key(result: Result) -> None:
    result["config"]["loss"] = {"center": 0.1}


def change_split_seed(result: Result) -> None:
    result["config"]["data"] = {"split": {"seed": 8}}


def change_fingerprint(result: Result) -> None:
    assert result["data"]
    result["data"]["fingerprint"] = "xyz"


def change_parameters(result: Result) -> None:
    assert result["network"]
    result["network"]["parameters"] = 5


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (change_theta, "'model.theta' is 0.5 in runs/0 and 0.9 in runs/1"),
        (add_key, "'loss.center' is 'absent'"),
        (change_split_seed, "'data.split.seed'"),
        (change_fingerprint, "'data fingerprint' is 'abc'"),
        (change_parameters, "'network parameters'"),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_mismatch(change: Callable[[Result], None], key: str) -> None:
    other = make_result(seed=1)
    change(other)
    (variant,) = sort_into_variants(runs_of(make_result(), other))
    assert variant.mismatch
    assert all(part in variant.mismatch for part in (key, "runs/0", "runs/1"))


def test_the_same_seed_twice_is_a_mismatch() -> None:
    (variant,) = sort_into_variants(runs_of(make_result(), make_result()))
    assert variant.mismatch == "runs/0 and runs/1 have the same seed 0: one sample, not two"


def test_what_is_compared_does_not_make_a_mismatch() -> None:
    other = make_result(seed=1)
    other["config"]["report"] = {"reference": "full", "paper": {"plain": 90.0}}
    (variant,) = sort_into_variants(runs_of(make_result(), other))
    assert variant.mismatch is None


def test_different_variants_may_differ() -> None:
    other = make_result("fpcn")
    change_theta(other)
    change_parameters(other)
    assert [variant.mismatch for variant in sort_into_variants(runs_of(make_result(), other))] == [None, None]


def planned(*jobs: tuple[str, int]) -> Plan:
    return Plan(("fpcn",), tuple(PlannedRun(name, seed, f"{name}-{seed}", ()) for name, seed in jobs))


def test_the_plan_orders_variants_and_names_what_is_missing() -> None:
    root = Path("outputs/demo")
    runs: list[Run] = [(root / f"{name}-{seed}", make_result(name, seed)) for name, seed in (("b", 0), ("a", 1))]
    runs += [(root / "extra", make_failed(variant="0-not-planned"))]
    plan = planned(("z", 0), ("b", 0), ("b", 2), ("b", 1), ("a", 1))

    variants = sort_into_variants(runs, [(root, plan)])

    assert [(each.name, each.missing, len(each.tested), len(each.others)) for each in variants] == [
        ("z", (0,), 0, 0),
        ("b", (1, 2), 1, 0),
        ("a", (), 1, 0),
        ("0-not-planned", (), 0, 1),
    ]
    assert {each.experiment for each in variants} == {"demo"}


def test_a_sweep_that_left_nothing_is_called_like_its_folder() -> None:
    (variant,) = sort_into_variants([], [(Path("outputs/ablation"), planned(("mask", 0)))])
    assert (variant.experiment, variant.name, variant.missing) == ("ablation", "mask", (0,))
