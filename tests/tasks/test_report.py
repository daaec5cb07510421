"""`task=report`: tables, figures and a page of a folder of runs."""

from pathlib import Path

import pytest

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from tests.conftest import composed
from tests.tasks.conftest import Train


@pytest.mark.slow
def test_trained_runs_are_compared(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("model=plain", "report.reference=plain", folder="runs/plain")
    train("model=fpcn", "report.reference=plain", folder="runs/fpcn")
    folder = tmp_path / "runs"
    run_task(composed("task=report", f"runs={folder}"))

    headings, _, *lines = (folder / "table.md").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (headings, *lines)]
    rows = [dict(zip(cells[0], line, strict=True)) for line in cells[1:]]
    assert [(row["variant"], row["inference mode"]) for row in rows] == [
        ("fpcn", "unmasked"),
        ("fpcn", "as_trained"),
        ("fpcn", "masked"),
        ("fpcn", "mean"),
        ("plain", "plain"),
    ]
    assert rows[0]["95 % interval"].startswith("[")
    assert [row["difference"] for row in rows[1:]] == ["-", "-", "-", "reference"]
    out = capsys.readouterr().out
    assert "as_trained" in out
    assert f"report: {folder / 'index.html'}" in out
    made = ("index.html", "table.csv", "table.tex", "figures/differences.png", "figures/learning_curves.svg")
    assert all((folder / name).exists() for name in made)


def test_the_page_of_a_single_run_is_made_again(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = train("model=plain")
    before = (folder / "index.html").read_bytes()
    (folder / "index.html").unlink()
    run_task(composed("task=report", f"runs={folder}"))
    assert (folder / "index.html").read_bytes() == before, "with the pictures, though no data are read"
    assert not (folder / "table.md").exists()
    assert "plain (seed 0) classifies" in capsys.readouterr().out


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no result"):
        run_task(composed("task=report", f"runs={tmp_path}"))
    with pytest.raises(UserError, match="runs is not set"):
        run_task(composed("task=report"))
