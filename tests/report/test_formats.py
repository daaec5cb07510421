import csv
import io
import re
from typing import Any

import pytest

from fpcn_lightning.report.formats import cells, to_csv, to_latex, to_markdown
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.table import summarise
from tests.report.test_results import make_failed, make_result
from tests.report.test_variants import runs_of


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
    assert "experiment" not in cells([make_row(), make_row()])[0]
    assert cells([make_row(), make_row(experiment="other")])[0][0] == "experiment"


SPECIAL = '\\ % _ & # $ { } ~ ^ < > | " [x]'


def test_latex_escapes_whatever_means_something_to_latex() -> None:
    """Read back by undoing the commands, one by one, in a reader written here."""
    lines = to_latex([make_row(variant=SPECIAL, **NUMBERS, **DIFFERENCE), make_row()]).splitlines()
    assert (lines[0][:16], lines[1], lines[3], lines[-2:]) == (
        r"\begin{tabular}{",
        r"\toprule",
        r"\midrule",
        [r"\bottomrule", r"\end{tabular}"],
    )
    columns = len(lines[0][16:-1])
    rows = [line.removesuffix(r" \\") for line in (lines[2], *lines[4:-2])]
    assert all(len(re.split(r"(?<!\\)&", row)) == columns for row in rows)
    first = re.split(r"(?<!\\)&", rows[1])[0].strip()
    assert not re.search(r"(?<!\\)[%_#$&~^<>|]", first)
    commands = {
        r"\textbackslash{}": "\\",
        r"\textasciitilde{}": "~",
        r"\textasciicircum{}": "^",
        r"\textless{}": "<",
        r"\textgreater{}": ">",
        r"\textbar{}": "|",
        "''": '"',
        "{[}": "[",
        "{]}": "]",
    }
    pattern = "|".join(re.escape(command) for command in commands) + r"|\\([%_#$&{}])"
    assert re.sub(pattern, lambda found: commands.get(found[0]) or found[1], first) == SPECIAL
    assert r"$-$1.2 {[}$-$3.1, 0.8{]}" in rows[1]
