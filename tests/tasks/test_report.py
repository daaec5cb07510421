"""`task=report`: one table out of a folder of runs."""

from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.main import run_task
from tests.conftest import composed
from tests.tasks.conftest import Train


def test_the_table_has_a_row_for_every_reading(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("model=plain", folder="runs/plain")
    train("model=fpcn", folder="runs/fpcn")
    run_task(composed("task=report", f"runs={tmp_path}/runs"))
    table = (tmp_path / "runs" / "table.md").read_text()
    assert [[cell.strip() for cell in line.split("|")[2:4]] for line in table.splitlines()[2:]] == [
        ["fpcn", "as_trained"],
        ["fpcn", "unmasked"],
        ["plain", "plain"],
    ]
    assert "as_trained" in capsys.readouterr().out
    assert (tmp_path / "runs" / "table.csv").exists()


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no result"):
        run_task(composed("task=report", f"runs={tmp_path}"))
    with pytest.raises(UserError, match="runs is not set"):
        run_task(composed("task=report"))
