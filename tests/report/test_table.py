import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.results import Result
from fpcn_lightning.report.table import Row, print_table, summarise, to_csv, to_markdown
from tests.report.test_results import make_failed, make_metrics, make_result


def runs_of(*results: Result) -> list[tuple[Path, Result]]:
    return [(Path(f"runs/{index}"), result) for index, result in enumerate(results)]


def make_row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "experiment": "demo",
        "variant": "plain",
        "reading": "as_trained",
        "seeds": (0, 1),
        "status": "finished",
        "accuracy": 0.81234,
        "accuracy_deviation": 0.01234,
        "accuracy_standard_error": 0.02345,
        "macro_f1": 0.79876,
    }
    return Row(**(values | changes))


def cells_of(row: Row) -> dict[str, str]:
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in to_markdown([row]).splitlines()]
    return dict(zip(lines[0], lines[2], strict=True))


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
    assert "±" not in cells_of(row)["accuracy % ± binomial SE"]


def test_each_reading_has_a_row_and_the_configured_one_comes_first() -> None:
    readings = {"as_trained": make_metrics(30), "unmasked": make_metrics(50)}
    result = make_result(metrics={"validation": {}, "test": readings}, reading="unmasked")
    assert [(row.reading, row.accuracy) for row in summarise(runs_of(result))] == [
        ("unmasked", 50 / 60),
        ("as_trained", 0.5),
    ]


def test_runs_without_results_keep_a_row_without_numbers() -> None:
    untested = make_result(seed=3, metrics={"validation": {}, "test": {}})
    rows = summarise(
        runs_of(make_failed(seed=2, variant="fpcn"), make_failed(seed=1, status="running", error=None), untested)
        + runs_of(make_result())
    )

    assert [(row.variant, row.seeds, row.status) for row in rows] == [
        ("fpcn", (2,), "failed"),
        ("plain", (0,), "finished"),
        ("plain", (1,), "running"),
        ("plain", (3,), "not tested"),
    ]
    assert [row.accuracy for row in rows] == [None, 0.75, None, None]
    assert cells_of(rows[0])["status"] == "failed: the disk is full"


def test_the_order_of_the_runs_does_not_matter() -> None:
    runs = runs_of(
        *(make_result(variant, seed) for variant in ("plain", "fpcn") for seed in (0, 1)), make_failed(seed=2)
    )
    assert summarise(runs) == summarise(runs[::-1])


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
        (change_theta, "'model.theta' is 0.5 in the first and 0.9 in the second"),
        (add_key, "'loss.center' is 'absent'"),
        (change_split_seed, "'data.split.seed'"),
        (change_fingerprint, "'data fingerprint' is 'abc'"),
        (change_parameters, "'network parameters'"),
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_refused(change: Callable[[Result], None], key: str) -> None:
    other = make_result(seed=1)
    change(other)
    with pytest.raises(UserError) as caught:
        summarise(runs_of(make_result(), other))
    assert all(part in str(caught.value) for part in (key, "runs/0", "runs/1"))


def test_the_same_seed_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"runs/0 and runs/1 .* same seed 0"):
        summarise(runs_of(make_result(), make_result()))


def test_different_variants_may_differ() -> None:
    other = make_result("fpcn")
    change_theta(other)
    change_parameters(other)
    assert len(summarise(runs_of(make_result(), other))) == 2


@pytest.mark.parametrize(
    ("error", "accuracy", "macro_f1"),
    [(0.02345, "81.2 ± 2.3", "79.9"), (0.0994, "81.2 ± 9.9", "79.9"), (0.12, "81 ± 12", "80"), (None, "81.2", "79.9")],
)
def test_digits_follow_the_error(error: float | None, accuracy: str, macro_f1: str) -> None:
    cells = cells_of(make_row(accuracy_standard_error=error))
    assert (cells["accuracy % ± binomial SE"], cells["macro-F1 %"], cells["SD over seeds"]) == (
        accuracy,
        macro_f1,
        "1.2",
    )


def test_markdown_has_one_line_a_row_whatever_an_error_says() -> None:
    row = make_row(status="failed", error="a | b\nsecond line" + "x" * 200, accuracy=None)
    header, rule, line = to_markdown([row]).splitlines()
    assert len(header) == len(rule) == len(line)
    assert r"failed: a \| b" in line
    assert "second" not in line


def test_csv_reads_back_unrounded() -> None:
    rows = summarise(runs_of(*(make_result(seed=seed, correct=40 + seed) for seed in range(3)), make_failed(seed=3)))
    finished, failed = csv.DictReader(io.StringIO(to_csv(rows)))

    assert float(finished["accuracy"]) == rows[0].accuracy
    assert float(finished["accuracy_deviation"]) == rows[0].accuracy_deviation
    assert (finished["seeds"], finished["parameters"]) == ("0 1 2", "4008829")
    assert (failed["accuracy"], failed["status"], failed["error"]) == ("", "failed", "the disk is full")


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
    assert all(cell in out for cell in cells_of(row).values())


def test_without_rich_the_table_is_markdown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    print_table([make_row()])
    assert capsys.readouterr().out.strip() == to_markdown([make_row()]).strip()
