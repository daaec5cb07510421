import sys

import numpy as np
import pytest

from fpcn_lightning.report.columns import results_table
from fpcn_lightning.report.table import print_table, summarise
from fpcn_lightning.report.text_table import to_markdown
from fpcn_lightning.runs.results import Result
from tests.report.test_columns import NUMBERS, make_row
from tests.report.test_variants import change_theta, runs_of
from tests.runs.test_results import make_failed, make_metrics, make_result


def test_numbers_equal_an_independent_computation() -> None:
    correct = [40, 45, 53]
    (row,) = summarise(runs_of(*(make_result(seed=seed, correct=right) for seed, right in enumerate(correct))))

    accuracies = np.array(correct) / 60
    outcomes = np.repeat([1.0, 0.0], [sum(correct), 180 - sum(correct)])
    assert row.seeds == (0, 1, 2)
    assert row.accuracy == pytest.approx(accuracies.mean())
    assert row.accuracy_deviation == pytest.approx(accuracies.std(ddof=1))
    assert row.accuracy_standard_error == pytest.approx(outcomes.std() / np.sqrt(60))
    assert row.macro_f1 == pytest.approx(accuracies.mean() - 0.01)
    assert (row.images, row.parameters, row.gmac, row.seconds) == (60, 4_008_829, 0.3848, 21.0)


def test_one_seed_has_the_recorded_error_and_no_deviation() -> None:
    (row,) = summarise(runs_of(make_result()))
    assert row.accuracy_deviation is None
    assert row.accuracy_standard_error == pytest.approx(make_metrics()["accuracy_standard_error"])


@pytest.mark.parametrize("correct", [0, 60])
def test_no_certainty_is_claimed_at_the_ends(correct: int) -> None:
    (row,) = summarise(runs_of(make_result(correct=correct)))
    assert row.accuracy_standard_error is None
    assert "±" not in to_markdown(results_table([row])).splitlines()[-1]


def test_each_inference_mode_has_a_row_and_the_configured_one_comes_first() -> None:
    inference_modes = {"as_trained": make_metrics(30), "unmasked": make_metrics(50)}
    result = make_result(metrics={"val": {}, "test": inference_modes}, inference_mode="unmasked")
    assert [(row.inference_mode, row.accuracy) for row in summarise(runs_of(result))] == [
        ("unmasked", 50 / 60),
        ("as_trained", 0.5),
    ]


def test_runs_without_results_keep_a_row_without_numbers() -> None:
    untested = make_result(seed=3, metrics={"val": {}, "test": {}})
    rows = summarise(
        runs_of(make_failed(seed=2, variant="fpcn"), make_failed(seed=1, status="interrupted", error=None), untested)
        + runs_of(make_result())
    )

    assert [(row.variant, row.seeds, row.status) for row in rows] == [
        ("fpcn", (2,), "failed"),
        ("plain", (0,), "finished"),
        ("plain", (1,), "interrupted"),
        ("plain", (3,), "not tested"),
    ]
    assert [row.accuracy for row in rows] == [None, 0.75, None, None]
    assert rows[0].error == "the disk is full"


def test_the_order_of_the_runs_does_not_matter() -> None:
    runs = runs_of(
        *(make_result(variant, seed) for variant in ("plain", "fpcn") for seed in (0, 1)), make_failed(seed=2)
    )
    assert summarise(runs) == summarise(runs[::-1])


def test_one_mismatch_does_not_cost_the_table() -> None:
    other = make_result(seed=1)
    change_theta(other)
    mismatch, whole = summarise(runs_of(make_result(), other, make_result("whole")))

    assert (mismatch.status, mismatch.seeds, mismatch.accuracy) == ("not averaged", (0, 1), None)
    assert mismatch.error
    assert all(part in mismatch.error for part in ("'model.theta'", "runs/0", "runs/1"))
    assert (whole.variant, whole.status, whole.accuracy) == ("whole", "finished", 0.75)


def test_the_printed_table_keeps_every_row_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([make_row(), make_row(variant="fpcn", status="failed", error="[Errno 28] no space", accuracy=None)])
    lines = capsys.readouterr().out.splitlines()
    assert any("plain" in line and "81.2 ± 2.3" in line and "finished" in line for line in lines)
    assert any("fpcn" in line and "failed: [Errno 28] no space" in line for line in lines)


def test_nothing_is_cut_on_a_narrow_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    row = make_row(parameters=4_008_829)
    print_table([row])
    out = capsys.readouterr().out
    assert all(cell in out for cell in results_table([row]).lines[0])


def test_without_rich_the_table_is_markdown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    print_table([make_row()])
    assert capsys.readouterr().out.strip() == to_markdown(results_table([make_row()])).strip()


def test_beside_intervals_the_terminal_leaves_the_cost_to_the_files(capsys: pytest.CaptureFixture[str]) -> None:
    costs = {"training_gmac": 77.7, "training_images_per_second": 1234.0, "inference_images_per_second": 5678.0}
    print_table([make_row(**NUMBERS, **costs, parameters=4_008_829)])
    out = capsys.readouterr().out
    assert "[79.0, 83.0]" in out
    assert not any(cost in out for cost in ("4,008,829", "77.7", "1,234", "5,678"))


def with_costs(seed: int, training_macs: int | None, speed: float | None) -> Result:
    result = make_result(seed=seed)
    assert result["network"]
    if training_macs is not None:
        result["network"]["training_macs"] = training_macs
    if speed is not None:
        result["images_per_second"] = {"training": speed, "inference": None}
    return result


def test_costs_of_training_are_means_over_seeds() -> None:
    (row,) = summarise(runs_of(with_costs(0, 4_000_000_000, 100), with_costs(1, 2_000_000_000, 50)))
    assert (row.training_gmac, row.training_images_per_second, row.inference_images_per_second) == (3.0, 75.0, None)


def test_a_cost_that_not_every_seed_has_is_not_known() -> None:
    """A mean over some of the seeds would be taken for that over all; runs of earlier versions have none."""
    (row,) = summarise(runs_of(with_costs(0, 4_000_000_000, 100), with_costs(1, None, None)))
    assert row.milliseconds is None
    assert (row.training_gmac, row.training_images_per_second, row.accuracy) == (None, None, 0.75)


def test_milliseconds_are_means_over_seeds_of_the_deployed_inference_mode() -> None:
    results = [make_result(seed=seed) for seed in (0, 1)]
    for result, milliseconds in zip(results, (10.0, 14.0), strict=True):
        assert result["network"]
        assert result["metrics"]
        result["network"]["milliseconds"] = milliseconds
        result["metrics"]["test"]["other"] = make_metrics()
    configured, other = summarise(runs_of(*results))
    assert (configured.milliseconds, other.milliseconds) == (12.0, None)
