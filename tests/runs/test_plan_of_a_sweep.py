import json
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.plan import PlannedJob, check_folders, write_plan


def test_the_plan_says_what_is_run_where_and_keeps_what_was_planned(tmp_path: Path) -> None:
    folder = tmp_path / "mit Umlaut é"
    write_plan(folder, "whole", [PlannedJob(variant, 1, f"{variant}/seed-1", ("seed=1",)) for variant in ("a", "b")])
    path = write_plan(folder, "part", [PlannedJob("a", 1, "a/seed-1", ("seed=1", "x=2"))])

    jobs = [
        {"variant": "a", "seed": 1, "folder": "a/seed-1", "overrides": ["seed=1", "x=2"]},
        {"variant": "b", "seed": 1, "folder": "b/seed-1", "overrides": ["seed=1"]},
    ]
    assert json.loads(path.read_text("utf-8")) == {"schema": 1, "commands": ["whole", "part"], "jobs": jobs}
    assert [each.name for each in folder.iterdir()] == ["sweep.json"]
    write_plan(folder, "part", [])
    assert json.loads(path.read_text("utf-8"))["commands"] == ["whole", "part"]


def test_two_jobs_in_one_folder_are_refused_with_the_key_that_would_tell_them_apart() -> None:
    jobs = [
        PlannedJob("fpcn", 0, "fpcn/seed-0", ("+experiment=demo", f"optimisation.learning_rate={rate}"))
        for rate in (0.1, 0.01)
    ]
    with pytest.raises(UserError) as caught:
        check_folders(jobs)
    sentence = str(caught.value)
    assert "fpcn/seed-0" in sentence
    assert "learning_rate=0.1'" in sentence
    assert "learning_rate=0.01'" in sentence
    assert "'variant=fpcn-${optimisation.learning_rate}'" in sentence


def test_a_job_outside_of_the_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"would leave the folder of its sweep for \.\./other/fpcn/seed-0"):
        check_folders([PlannedJob("fpcn", 0, "../other/fpcn/seed-0", ("name=other",))])
