"""What a sweep set out to run: `sweep.json` in its folder, so that a report also knows what is not there."""

import json
from pathlib import Path
from typing import Literal, TypedDict, cast

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.contract import check

PLAN_NAME = "sweep.json"


class Job(TypedDict):
    """One run; `folder` is relative to that of the sweep."""

    variant: str
    seed: int
    folder: str
    overrides: list[str]


class Plan(TypedDict):
    """The commands that started a sweep, widened it or took a part of it, and its runs in their order."""

    schema: Literal[1]
    commands: list[str]
    jobs: list[Job]


def find_plans(root: Path) -> list[tuple[Path, Plan]]:
    """Read every `sweep.json` at or below `root`.

    Returns:
        (sweep folder, plan) pairs sorted by folder.

    Raises:
        UserError: one of the files cannot be read or breaks the contract.
    """
    return [(path.parent, read_plan(path)) for path in sorted(root.rglob(PLAN_NAME))]


def read_plan(path: Path) -> Plan:
    """Read one `sweep.json`.

    Raises:
        UserError: it cannot be read or breaks the contract.
    """
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        check(plan, Plan)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    except ValueError as error:
        raise UserError(f"{path} is no plan of a sweep: {error}. Start the sweep again, or move it away.") from error
    return cast(Plan, plan)
