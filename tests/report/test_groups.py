"""Runs in groups, made up; the cells are checked against what was put in."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.report.experiments import Experiment, read_experiments
from fpcn_lightning.report.groups import group_notes, groups_csv, groups_of, groups_table
from fpcn_lightning.report.page import PageContent, make_page
from fpcn_lightning.report.write import write_report
from fpcn_lightning.runs.results import write_result
from tests.report.run_folders import leave_run
from tests.report.test_page import read
from tests.runs.test_results import make_failed

REPORT: dict[str, Any] = {
    "paper": {"small-plain": 76.5, "small-kd": 77.1, "large-kd": 80.0},
    "paper_gains": {"large-kd": 1.4},
    "paper_costs": {
        "small": {"parameters": 11.89, "mflops": 7294, "milliseconds": 2.61},
        "large": {"parameters": 4.2},
    },
    "remarks": {"large-plain": "4.2 is the size of another net"},
}
CORRECT = {"small-plain": 60, "small-kd": 66, "large-plain": 70, "large-kd": 69}


def leave(folder: Path, name: str, report: Any = None, **changes: Any) -> None:
    """The run of a variant `group-condition`; the longer the name of its group, the larger and slower its network."""
    group, condition = name.split("-")
    within = {"group": group, "condition": condition, "baseline": "plain"}
    network = {
        "parameters": 1_000_000 * len(group),
        "macs": 10**8 * len(group),
        "input_size": 64,
        "weights": "random",
        "milliseconds": 2.5 * len(group) if condition == "plain" else 100.0,
    }
    config = {"report": {**(REPORT if report is None else report), "within": within}, "model": {"condition": condition}}
    right = np.arange(80) < CORRECT.get(name, 50)
    leave_run(folder / name, right, variant=name, config=config, **{"network": network, **changes})


def of(folder: Path, *names: str, report: Any = None) -> Experiment:
    for name in names or CORRECT:
        leave(folder, name, report)
    (experiment,) = read_experiments(folder)
    return experiment


def lines_of(experiment: Experiment) -> dict[str, dict[str, str]]:
    table = groups_table(groups_of(experiment))
    return {line[0]: dict(zip(table.headings, line, strict=True)) for line in table.lines}


def test_a_line_holds_a_group_and_the_paper_beside_it(tmp_path: Path) -> None:
    lines = lines_of(of(tmp_path))
    assert list(lines) == ["large (a)", "small"]
    small = lines["small"]
    assert list(small) == [
        "group",
        "parameters",
        "GMAC",
        "ms",
        "plain %",
        "kd %",
        "gain of kd",
        "paper plain %",
        "paper kd %",
        "paper gain of kd",
        "paper parameters (M)",
        "paper MFLOPs",
        "paper ms",
    ]
    assert [small[heading] for heading in ("parameters", "GMAC", "ms")] == ["5,000,000", "0.5", "12.5"]
    assert (small["plain %"], small["kd %"]) == ("75.0 ± 4.8", "82.5 ± 4.2")
    assert re.fullmatch(r"\+7\.5 \[\d+\.\d, \d+\.\d\]", small["gain of kd"])
    assert [small[f"paper {what}"] for what in ("plain %", "kd %", "gain of kd")] == ["76.5", "77.1", "+0.6"]
    assert [small[f"paper {what}"] for what in ("parameters (M)", "MFLOPs", "ms")] == ["11.89", "7,294", "2.61"]


def test_a_gain_of_the_paper_is_said_where_its_accuracies_are_not(tmp_path: Path) -> None:
    large = lines_of(of(tmp_path))["large (a)"]
    assert large["gain of kd"].startswith("-1.2 [")
    assert [large[f"paper {what}"] for what in ("plain %", "kd %", "gain of kd")] == ["-", "80.0", "+1.4"]
    assert [large[f"paper {what}"] for what in ("parameters (M)", "MFLOPs", "ms")] == ["4.2", "-", "-"]


def test_without_a_paper_there_are_no_columns_of_it(tmp_path: Path) -> None:
    experiment = of(tmp_path, "small-plain", "small-kd", report={})
    assert groups_table(groups_of(experiment)).headings == [
        "group",
        "parameters",
        "GMAC",
        "ms",
        "plain %",
        "kd %",
        "gain of kd",
    ]
    assert not any("paper" in note for note in group_notes(experiment, groups_of(experiment)))


def test_notes_say_what_was_marked(tmp_path: Path) -> None:
    experiment = of(tmp_path)
    notes = group_notes(experiment, groups_of(experiment))
    assert "(a) large-plain: 4.2 is the size of another net" in notes
    assert "condition plain" in notes[0]
    assert any("as printed" in note for note in notes)


def test_every_further_condition_has_its_own_columns(tmp_path: Path) -> None:
    lines = lines_of(of(tmp_path, *CORRECT, "small-dkd"))
    assert lines["small"]["dkd %"].startswith("62.5")
    assert lines["small"]["gain of dkd"].startswith("-12.5")
    assert (lines["large (a)"]["dkd %"], lines["large (a)"]["gain of dkd"]) == ("-", "-")


def test_what_is_not_there_is_left_open(tmp_path: Path) -> None:
    config = {"report": {"within": {"group": "lost", "condition": "plain", "baseline": "plain"}}}
    write_result(tmp_path / "lost-plain", make_failed(variant="lost-plain", config=config))
    lines = lines_of(of(tmp_path, "small-kd", "large-plain"))
    assert list(lines) == ["large (a)", "small"]
    assert (lines["small"]["plain %"], lines["small"]["ms"]) == ("-", "100")
    assert "gain of kd" not in lines["small"]


def test_two_variants_of_one_condition_are_not_chosen_from(tmp_path: Path) -> None:
    within = {"group": "small", "condition": "kd", "baseline": "plain"}
    right = np.arange(80) < 80
    leave_run(tmp_path / "twin", right, variant="twin", config={"report": {**REPORT, "within": within}})
    assert "kd %" not in lines_of(of(tmp_path, "small-plain", "small-kd"))["small"]


def test_csv_has_a_line_a_group_unrounded(tmp_path: Path) -> None:
    experiment = of(tmp_path)
    large, small = csv.DictReader(io.StringIO(groups_csv([("demo", groups_of(experiment))])))
    assert (small["experiment"], small["group"], small["parameters"]) == ("demo", "small", "5000000")
    assert float(small["accuracy of kd"]) == 66 / 80
    low, gain, high = (float(small[key]) for key in ("gain of kd, low", "gain of kd", "gain of kd, high"))
    assert low < gain < high
    assert gain == pytest.approx(6 / 80)
    assert float(small["paper gain of kd"]) == pytest.approx(0.006)
    assert (small["paper mflops"], large["paper mflops"]) == ("7294", "")
    assert (small["gain of plain"], large["paper accuracy of plain"]) == ("", "")


def test_the_files_and_the_page_have_the_table(tmp_path: Path) -> None:
    experiment = of(tmp_path)
    write_report([experiment], tmp_path)
    cells = [cell for line in groups_table(groups_of(experiment)).lines for cell in line]
    markdown, latex = ((tmp_path / f"within.{suffix}").read_text(encoding="utf-8") for suffix in ("md", "tex"))
    assert all(cell in markdown for cell in cells)
    assert latex.count(r"\\") == 3
    assert all("4.2 is the size of another net" in text for text in (markdown, latex))
    page = read(make_page([PageContent(experiment, {}, [])], tmp_path))
    assert all(cell in page.text for cell in cells)
    assert page.text.count("4.2 is the size of another net") == 2  # below both tables, and in the config


def test_without_groups_nothing_is_left_of_an_earlier_table(tmp_path: Path) -> None:
    (tmp_path / "within.md").touch()
    leave_run(tmp_path / "run", np.arange(80) < 60)
    (experiment,) = read_experiments(tmp_path)
    assert groups_of(experiment) == []
    write_report([experiment], tmp_path)
    assert not list(tmp_path.glob("within.*"))


def test_several_experiments_share_the_files(tmp_path: Path) -> None:
    leave(tmp_path, "small-plain")
    leave(tmp_path / "other", "large-kd", experiment="other")
    write_report(read_experiments(tmp_path), tmp_path)
    markdown = (tmp_path / "within.md").read_text(encoding="utf-8")
    assert re.findall("^## .*", markdown, re.MULTILINE) == ["## demo", "## other"]
    with (tmp_path / "within.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(line["experiment"], line["group"]) for line in lines] == [("demo", "small"), ("other", "large")]
