import csv
import os
from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.report import write as report_write
from fpcn_lightning.report.experiments import read_experiments
from fpcn_lightning.report.write import write_report
from tests.report.run_folders import leave_run

RATIOS = np.linspace(0.1, 0.9, 20).round(3)


def leave_experiment(folder: Path, name: str, ratios: bool) -> None:
    for variant, correct in (("full", 15), ("mask", 12)):
        leave_run(
            folder / variant,
            np.arange(20) < correct,
            variant=variant,
            experiment=name,
            object_ratio=RATIOS if ratios else None,
            config={"report": {"reference": "full"}, "model": {"theta": correct}},
        )


def write(folder: Path) -> set[str]:
    write_report(read_experiments(folder), folder)
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in made if not name.endswith(("result.json", "metrics.csv", "split.csv", "predictions.csv"))}


def drawn(*names: str, below: str = "figures") -> set[str]:
    return {f"{below}/{name}.{suffix}" for name in names for suffix in ("png", "svg")}


TABLES = {"index.html", "table.md", "table.csv", "table.tex"}


def test_a_report_holds_what_can_be_made(tmp_path: Path) -> None:
    leave_experiment(tmp_path, "demo", ratios=True)
    figures = drawn("differences", "learning_curves", "object_ratio")
    assert write(tmp_path) == TABLES | {"object_ratio.csv"} | figures
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    table, below = markdown.split("\n\n")
    assert len(table.splitlines()) == 4
    assert all(line.startswith("- ") for line in below.splitlines())
    assert (tmp_path / "index.html").read_text(encoding="utf-8").count("data:image/svg+xml") == 3


def test_a_later_report_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    leave_experiment(tmp_path, "demo", ratios=True)
    write(tmp_path)
    leave_experiment(tmp_path, "demo", ratios=False)
    assert write(tmp_path) == TABLES | drawn("differences", "learning_curves")


def test_groups_have_a_figure_which_is_on_the_page(tmp_path: Path) -> None:
    for condition, correct in (("tuned", 17), ("scratch", 12)):
        within = {"group": "swin", "condition": condition, "baseline": "scratch"}
        config = {"report": {"within": within, "reach": 0.5}, "model": {"condition": condition}}
        leave_run(tmp_path / condition, np.arange(20) < correct, variant=condition, config=config)
    tables = TABLES | {"within.md", "within.csv", "within.tex"}
    assert write(tmp_path) == tables | drawn("differences", "learning_curves", "within")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml") == 3
    assert "difference to the baseline of the group" in page
    assert "epochs to 50 %" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_a_remark_is_in_every_file(tmp_path: Path) -> None:
    config = {"report": {"paper": {"lenet": 50.5}, "remarks": {"lenet": "it had learned nothing"}}}
    leave_run(tmp_path / "lenet", np.arange(20) < 12, variant="lenet", config=config)
    write(tmp_path)
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name in TABLES}
    assert all("it had learned nothing" in text for text in texts.values())
    assert all("50.5 (a)" in texts[name] for name in TABLES - {"table.csv"})


def test_several_experiments_keep_their_figures_apart(tmp_path: Path) -> None:
    leave_experiment(tmp_path / "a", "a", ratios=False)
    leave_experiment(tmp_path / "b", "b/../c", ratios=False)
    names = ("differences", "learning_curves")
    assert write(tmp_path) == TABLES | drawn(*names, below="figures/a") | drawn(*names, below="figures/b_.._c")
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert [line for line in markdown.splitlines() if line.startswith("## ")] == ["## a", "## b/../c"]
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert [row["experiment"] for row in csv.DictReader(file)] == ["a", "a", "b/../c", "b/../c"]


@pytest.mark.skipif(os.name == "nt", reason="file names are no bytes there")
def test_a_folder_that_is_no_utf_8_is_reported_too(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xe8s"))
    leave_experiment(folder, "demo", ratios=False)
    (folder / "mask" / "split.csv").unlink()  # its path gets into a note
    write(folder)
    assert "No interval for mask" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_figure_that_fails_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such font")

    leave_experiment(tmp_path, "demo", ratios=False)
    write(tmp_path)
    monkeypatch.setattr(report_write, "draw_differences", fail)
    assert write(tmp_path) == TABLES | drawn("learning_curves")
    assert "the figure differences could not be made: RuntimeError: no such font" in caplog.text
