"""The table of a sweep in W&B."""

import logging
from pathlib import Path
from typing import cast

import pytest
import wandb
from PIL import Image

from fpcn_lightning.runs.results import Result
from fpcn_lightning.tracking.wandb_report import log_report
from tests.wandb_record import offline_runs

TABLE = "variant,accuracy,seeds,error\nplain,0.5,0 1 2,\n42,0.75,0,out of memory\n"


@pytest.fixture
def reported(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    (folder / "figures").mkdir(parents=True)
    (folder / "table.csv").write_text(TABLE)
    Image.new("RGB", (4, 4)).save(folder / "figures" / "differences.png")
    return folder


def of_run(experiment: str, wandb_section: dict[str, object] | None) -> Result:
    return cast(Result, {"experiment": experiment, "config": {"logger": {"csv": {}, "wandb": wandb_section}}})


LOGGED = of_run("study", {"project": "rocks", "entity": None})


def test_table_and_figures_are_logged_as_a_separate_run(reported: Path) -> None:
    log_report(reported, [of_run("study", None), LOGGED])
    (recorded,) = offline_runs(reported)
    assert recorded.exit_code == 0
    assert recorded.run["project"] == "rocks"
    assert recorded.run["run_group"] == "study"
    assert (recorded.run["display_name"], recorded.run["job_type"]) == ("table", "report")
    assert recorded.table("table") == [
        {"variant": "plain", "accuracy": 0.5, "seeds": "0 1 2", "error": None},
        {"variant": "42", "accuracy": 0.75, "seeds": "0", "error": "out of memory"},
    ]
    assert recorded.summary["figures/differences._type"] == "image-file"


@pytest.mark.slow
def test_the_next_report_of_a_folder_updates_the_same_run(reported: Path) -> None:
    (reported / "wandb_run.txt").write_text("trained1")
    log_report(reported, [LOGGED])
    log_report(reported, [LOGGED])
    first, second = offline_runs(reported)
    assert first.run["run_id"] == second.run["run_id"] != "trained1"


def test_a_report_of_runs_that_were_not_logged_is_not_logged(reported: Path) -> None:
    log_report(reported, [of_run("study", None), cast(Result, {"experiment": "a", "config": {"logger": {}}})])
    assert not offline_runs(reported)


def test_an_error_of_w_and_b_does_not_stop_a_report(
    reported: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**options: object) -> None:
        raise wandb.errors.CommError("no such host")

    monkeypatch.setattr(wandb, "init", refuse)
    with caplog.at_level(logging.WARNING):
        log_report(reported, [LOGGED])
    assert f"the table of {reported} could not be logged to W&B: no such host" in caplog.text
