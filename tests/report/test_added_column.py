"""A column of the results table costs one entry in a list, which may be appended outside of the package."""

import csv
import re
import statistics
from pathlib import Path

import pytest

from fpcn_lightning.report import columns
from fpcn_lightning.report.columns import Column, text_columns
from fpcn_lightning.report.experiments import read_experiments
from fpcn_lightning.report.formats import NOT_KNOWN, percent
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.table import print_table
from fpcn_lightning.report.write import write_report
from tests.report.run_folders import leave_run

HEADING = "macro-recall %"


def macro_recall(row: Row) -> float | None:
    """Of the runs behind the row: no attribute of `Row` holds it."""
    tested = [result["metrics"]["test"] for result in row.results if result["metrics"]]
    return statistics.fmean(each[str(row.inference_mode)]["macro_recall"] for each in tested) if tested else None


RECALL = Column(HEADING, lambda row: percent(macro_recall(row)), csv_name="macro_recall", value=macro_recall)
SET = Column("test set", lambda row: f"{row.images} rocks" if row.images else NOT_KNOWN, "text")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(columns, "COLUMNS", list(columns.COLUMNS))
    for seed, correct in enumerate(([1, 1, 1, 0], [1, 1, 0, 0])):
        leave_run(tmp_path / f"seed-{seed}", correct, seed=seed)
    return tmp_path


def test_an_added_column_is_in_every_file_and_on_the_terminal(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns.COLUMNS.append(RECALL)
    experiments = read_experiments(folder)
    write_report(experiments, folder)

    header, _, line, *_ = (folder / "table.md").read_text("utf-8").splitlines()
    assert [header.strip("| ").split(" | ")[-1].strip(), line.strip("| ").split(" | ")[-1].strip()] == [HEADING, "62.5"]
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["macro_recall"]) == pytest.approx(0.625)
    assert "macro_recall" not in text_columns()
    latex = (folder / "table.tex").read_text("utf-8").splitlines()
    assert latex[0].endswith("r}")
    assert latex[2].endswith(r"& macro-recall \% \\")
    assert latex[4].endswith(r"& 62.5 \\")
    page = (folder / "index.html").read_text("utf-8")
    assert f"<th>{HEADING}</th></tr>" in page
    assert re.search(r"<td>62\.5</td></tr>", page)
    print_table(experiments[0].rows)
    assert "62.5" in capsys.readouterr().out


def test_text_is_set_to_the_left_and_a_column_without_values_is_not_shown(folder: Path) -> None:
    columns.COLUMNS.insert(0, SET)
    (experiment,) = read_experiments(folder)
    write_report([experiment], folder)
    assert (folder / "table.tex").read_text("utf-8").startswith(r"\begin{tabular}{l")
    assert '<td class="text">4 rocks</td>' in (folder / "index.html").read_text("utf-8")
    assert "test set" not in columns.results_table([Row("demo", "plain", None, (0,), "failed")]).headings
