import json
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.plan import find_plans
from tests.report.run_folders import leave_plan


def test_plans_are_found_below_a_folder(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        leave_plan(tmp_path / name, [("mask", 0)], command=f"command {name}")
    assert [(folder.name, plan["commands"]) for folder, plan in find_plans(tmp_path)] == [
        ("a", ["command a"]),
        ("b", ["command b"]),
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
