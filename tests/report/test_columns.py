import csv
import io
from typing import Any, get_type_hints

import pytest

from fpcn_lightning.report.columns import brief_table, results_table, text_columns, to_csv
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.table import summarise
from fpcn_lightning.report.text_table import to_markdown
from tests.report.test_variants import runs_of
from tests.runs.test_results import make_failed, make_result


def make_row(**changes: Any) -> Row:
    values: dict[str, Any] = {
        "experiment": "demo",
        "variant": "plain",
        "inference_mode": "as_trained",
        "seeds": (0, 1),
        "status": "finished",
        "accuracy": 0.81234,
        "accuracy_deviation": 0.01234,
        "accuracy_standard_error": 0.02345,
        "macro_f1": 0.79876,
    }
    return Row(**(values | changes))


def cells_of(row: Row) -> dict[str, str]:
    lines = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in to_markdown(results_table([row])).splitlines()
    ]
    return dict(zip(lines[0], lines[2], strict=True))


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
    header, rule, line = to_markdown(results_table([row])).splitlines()
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


NUMBERS = {"accuracy_low": 0.79, "accuracy_high": 0.83, "reference": "full", "paper": 0.92}
DIFFERENCE = {"difference": -0.012, "difference_low": -0.031, "difference_high": 0.008}


def test_intervals_and_differences_are_columns_where_there_are_any() -> None:
    with_all = cells_of(make_row(**NUMBERS, **DIFFERENCE))
    assert [with_all[heading] for heading in ("95 % interval", "difference", "paper %")] == [
        "[79.0, 83.0]",
        "-1.2 [-3.1, 0.8]",
        "92.0",
    ]
    assert cells_of(make_row(**NUMBERS, variant="full"))["difference"] == "reference"
    assert not {"95 % interval", "difference", "paper %"} & cells_of(make_row()).keys()


def test_the_experiment_is_a_column_where_there_are_several() -> None:
    assert "experiment" not in results_table([make_row(), make_row()]).headings
    assert results_table([make_row(), make_row(experiment="other")]).headings[0] == "experiment"


def test_a_remark_marks_the_papers_number_or_else_the_name() -> None:
    table = results_table([make_row(paper=0.505, remark="why"), make_row(variant="lost", remark="also"), make_row()])
    variant, paper = table.headings.index("variant"), table.headings.index("paper %")
    assert [(line[variant], line[paper]) for line in table.lines] == [
        ("plain", "50.5 (a)"),
        ("lost (b)", "-"),
        ("plain", "-"),
    ]
    assert cells_of(make_row(remark="why"))["variant"] == "plain (a)"


@pytest.mark.parametrize(
    ("epochs", "seeds", "cell"),
    [
        (4.0, 2, "4"),
        (4.5, 2, "4.5"),
        (10 / 3, 2, "3.3"),
        (120.0, 2, "120"),
        (4.5, 1, "1 of 2: 4.5"),
        (None, 0, "never"),
    ],
)
def test_epochs_say_how_many_seeds_they_are_of(epochs: float | None, seeds: int, cell: str) -> None:
    row = make_row(target_accuracy=0.8, epochs_to_target=epochs, seeds_at_target=seeds)
    assert cells_of(row)["epochs to 80 %"] == cell


def test_each_accuracy_to_be_reached_has_a_column_where_any_curve_is_known() -> None:
    rows = [make_row(target_accuracy=target, epochs_to_target=2, seeds_at_target=2) for target in (0.8, 0.755)]
    table = results_table([*rows, make_row(target_accuracy=0.9), make_row()])
    columns = [heading for heading in table.headings if heading.startswith("epochs")]
    assert columns == ["epochs to 75.5 %", "epochs to 80 %"]
    assert [[line[table.headings.index(column)] for column in columns] for line in table.lines] == [
        ["-", "2"],
        ["2", "-"],
        ["-", "-"],
        ["-", "-"],
    ]


def test_within_groups_the_difference_is_to_the_baseline() -> None:
    group = {"group": "swin", "condition": "tuned", "reference": "swin-scratch"}
    tuned = cells_of(make_row(**NUMBERS | DIFFERENCE | group))
    assert (tuned["group"], tuned["condition"]) == ("swin", "tuned")
    assert tuned["difference to the baseline"] == "-1.2 [-3.1, 0.8]"
    assert "difference" not in tuned
    baseline = cells_of(make_row(**NUMBERS | group, variant="swin-scratch"))
    assert baseline["difference to the baseline"] == "baseline"


def test_costs_are_columns_where_there_are_any() -> None:
    speeds = {"training_images_per_second": 123.4, "inference_images_per_second": 23456.7}
    costs = cells_of(make_row(training_gmac=0.7696, milliseconds=12.345, **speeds))
    headings = ("training GMAC", "ms", "images/s training", "images/s inference")
    assert [costs[heading] for heading in headings] == ["0.77", "12.3", "123", "23,457"]
    assert not {*headings, "group", "condition"} & cells_of(make_row()).keys()


def test_csv_always_has_every_column() -> None:
    (line,) = csv.DictReader(
        io.StringIO(to_csv([make_row(remark='says "a, b"', target_accuracy=0.8, seeds_at_target=0)]))
    )
    assert (line["remark"], line["target_accuracy"], line["epochs_to_target"], line["seeds_at_target"]) == (
        'says "a, b"',
        "0.8",
        "",
        "0",
    )
    costs = ("training_gmac", "training_images_per_second", "inference_images_per_second", "group", "condition")
    assert [line[column] for column in costs] == [""] * 5


def test_text_columns_are_those_of_the_rows_that_hold_text() -> None:
    hints = {name: str(hint) for name, hint in get_type_hints(Row).items() if name != "results"}
    assert text_columns() == {"seeds", *(name for name, hint in hints.items() if "str" in hint)}


def test_the_brief_table_has_the_columns_that_decide() -> None:
    rows = [make_row(accuracy_low=0.7, accuracy_high=0.8, gmac=1.0, seconds=3.0)]
    assert {"GMAC", "seconds", "status"} <= set(results_table(rows).headings)
    headings = brief_table(rows, rows).headings
    assert headings[:2] == ["variant", "seeds"]
    assert {"95 % interval", "SD over seeds"} <= set(headings)
    assert {"GMAC", "seconds", "status", "inference mode"}.isdisjoint(headings)


def test_the_brief_table_keeps_a_line_for_what_failed() -> None:
    rows = [make_row(), make_row(inference_mode="mean"), make_row(variant="lost", accuracy=None, status="failed")]
    table = brief_table(rows[:1], rows)
    assert [line[0] for line in table.lines] == ["plain", "lost"]
    assert "status" in table.headings


def test_marks_of_the_brief_table_are_those_of_the_notes() -> None:
    rows = [make_row(remark="one"), make_row(variant="other", remark="two")]
    table = brief_table(rows[::-1], rows)
    assert [line[0] for line in table.lines] == ["other (b)", "plain (a)"]


@pytest.mark.parametrize(("seeds", "heading", "cell"), [((0,), "seed", "0"), ((0, 1, 2), "seeds", "0, 1, 2")])
def test_one_seed_is_called_so(seeds: tuple[int, ...], heading: str, cell: str) -> None:
    table = results_table([make_row(seeds=seeds)])
    assert table.lines[0][list(table.headings).index(heading)] == cell
