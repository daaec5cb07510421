"""The runs that a sweep plans: `sweep.json` in its folder, so that a report also knows which are missing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.schema_check import check

PLAN_NAME = "sweep.json"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep; `folder` is relative to the folder of the sweep, with slashes."""

    variant: str
    seed: int
    folder: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The commands that started a sweep, extended it or ran a part of it, and its runs in their order."""

    commands: tuple[str, ...]
    runs: tuple[PlannedRun, ...]


class _RunRecord(TypedDict):
    variant: str
    seed: int
    folder: str
    overrides: list[str]


class _PlanRecord(TypedDict):
    """The contract of `sweep.json`."""

    schema: Literal[1]
    commands: list[str]
    jobs: list[_RunRecord]


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
        record = json.loads(path.read_text(encoding="utf-8"))
        check(record, _PlanRecord)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    except ValueError as error:
        raise UserError(f"{path} is no plan of a sweep: {error}. Start the sweep again, or move it away.") from error
    plan = cast(_PlanRecord, record)
    runs = (
        PlannedRun(each["variant"], each["seed"], each["folder"], tuple(each["overrides"])) for each in plan["jobs"]
    )
    return Plan(tuple(plan["commands"]), tuple(runs))


def write_plan(folder: Path, command: str, runs: Sequence[PlannedRun]) -> Path:
    """Write `folder/sweep.json` in a single step and return its path.

    Runs that an earlier command has planned there stay planned, so that running a part again does not hide what is
    still missing of the whole; delete the file to discard the plan.

    Raises:
        UserError: the earlier plan is damaged.
    """
    path = folder / PLAN_NAME
    earlier = read_plan(path) if path.exists() else Plan((), ())
    planned = {run.folder: asdict(run) for run in (*earlier.runs, *runs)}
    commands = list(dict.fromkeys([*earlier.commands, command]))
    record = {"schema": 1, "commands": commands, "jobs": list(planned.values())}
    return write_text_atomically(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def check_folders(runs: Sequence[PlannedRun]) -> None:
    """Raise a UserError where two runs have the same folder, or one lies outside the folder of the sweep."""
    run_of_folder: dict[str, PlannedRun] = {}
    for run in runs:
        if run.folder.startswith(".."):
            raise UserError(
                f"the job {_quoted(run)} would leave the folder of its sweep for {run.folder}: jobs of one sweep "
                "differ in variant=... and seed=..., not in name=... or output=..."
            )
        twin = run_of_folder.setdefault(run.folder, run)
        if twin is not run:
            raise UserError(
                f"two jobs of the sweep would land in {run.folder}: {_quoted(twin)} and {_quoted(run)}. "
                f"Give them different values of seed=..., or of variant=..., {_example(twin, run)}."
            )


def _quoted(run: PlannedRun) -> str:
    return f"'{' '.join(run.overrides)}'"


def _example(one: PlannedRun, other: PlannedRun) -> str:
    """How a variant can be named after the first config key in which two runs differ."""
    keys = (word.partition("=")[0].lstrip("+") for word in other.overrides if word not in one.overrides)
    key = next((key for key in keys if "." in key), "model.backbone")
    return f"such as 'variant={other.variant}-${{{key}}}'"
