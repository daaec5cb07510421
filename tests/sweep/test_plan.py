import json
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.plan import PlannedJob, write_plan


def test_the_plan_says_what_is_run_where_and_replaces_the_last_one(tmp_path: Path) -> None:
    folder = tmp_path / "mit Umlaut é"
    write_plan(folder, "an earlier command", [])
    path = write_plan(folder, "python -m fpcn_lightning", [PlannedJob("mask", 1, "mask/seed-1", ("seed=1",))])

    job = {"variant": "mask", "seed": 1, "folder": "mask/seed-1", "overrides": ["seed=1"]}
    assert json.loads(path.read_text("utf-8")) == {"schema": 1, "command": "python -m fpcn_lightning", "jobs": [job]}
    assert [each.name for each in folder.iterdir()] == ["sweep.json"]


def test_two_jobs_in_one_folder_are_refused_with_the_key_that_would_tell_them_apart(tmp_path: Path) -> None:
    jobs = [
        PlannedJob("fpcn", 0, "fpcn/seed-0", ("+experiment=demo", f"optimisation.learning_rate={rate}"))
        for rate in (0.1, 0.01)
    ]
    with pytest.raises(UserError) as caught:
        write_plan(tmp_path, "command", jobs)
    sentence = str(caught.value)
    assert "fpcn/seed-0" in sentence
    assert "learning_rate=0.1'" in sentence
    assert "learning_rate=0.01'" in sentence
    assert "'variant=fpcn-${optimisation.learning_rate}'" in sentence
    assert not list(tmp_path.iterdir())


def test_a_job_outside_of_the_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"would leave the folder of its sweep for \.\./other/fpcn/seed-0"):
        write_plan(tmp_path, "command", [PlannedJob("fpcn", 0, "../other/fpcn/seed-0", ("name=other",))])
