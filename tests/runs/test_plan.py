import json
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.plan import PlannedRun, check_folders, find_plans, write_plan
from tests.report.run_folders import leave_plan


def test_plans_are_found_below_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        leave_plan(tmp_path / name, [("mask", 0)], command=f"command {name}")
    assert [(folder.name, plan.commands) for folder, plan in find_plans(tmp_path)] == [
        ("a", ("command a",)),
        ("b", ("command b",)),
    ]
    assert find_plans(tmp_path / "a" / "nothing") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no plan"),
        ("[]", "'the record' is list, not dict"),
        ({"schema": 2, "commands": [], "jobs": []}, "'schema' is 2"),
        ({"schema": 1, "commands": [], "jobs": [{"variant": "a", "seed": "0"}]}, "'jobs.0.seed' is str, not int"),
        ({"schema": 1, "commands": []}, "'jobs' is missing"),
    ],
)
def test_what_is_no_plan_is_named(tmp_path: Path, content: Any, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "sweep.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"sweep\.json.*{message}"):
        find_plans(tmp_path)


def test_the_plan_says_what_is_run_where_and_keeps_what_was_planned(tmp_path: Path) -> None:
    folder = tmp_path / "mit Umlaut é"
    write_plan(folder, "whole", [PlannedRun(variant, 1, f"{variant}/seed-1", ("seed=1",)) for variant in ("a", "b")])
    path = write_plan(folder, "part", [PlannedRun("a", 1, "a/seed-1", ("seed=1", "x=2"))])

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
        PlannedRun("fpcn", 0, "fpcn/seed-0", ("+experiment=demo", f"optimisation.learning_rate={rate}"))
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
        check_folders([PlannedRun("fpcn", 0, "../other/fpcn/seed-0", ("name=other",))])
