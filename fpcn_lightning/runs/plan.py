"""What a sweep sets out to run: `sweep.json` in its folder, so that a report also knows what is missing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.schema_check import check

PLAN_NAME = "sweep.json"


class PlannedRun(TypedDict):
    """One run; `folder` is relative to that of the sweep."""

    variant: str
    seed: int
    folder: str
    overrides: list[str]


class Plan(TypedDict):
    """The commands that started a sweep, widened it or took a part of it, and its runs in their order."""

    schema: Literal[1]
    commands: list[str]
    jobs: list[PlannedRun]


@dataclass(frozen=True)
class PlannedJob:
    """One run of a sweep; `folder` is relative to the folder of the sweep, with slashes."""

    variant: str
    seed: int
    folder: str
    overrides: tuple[str, ...]


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


def write_plan(folder: Path, command: str, jobs: Sequence[PlannedJob]) -> Path:
    """Write `folder/sweep.json` in a single step and return its path.

    What an earlier command has planned there stays planned, so that a part that is run again does not hide what is
    still missing of the whole; removing the file forgets it.

    Raises:
        UserError: the earlier plan is damaged.
    """
    path = folder / PLAN_NAME
    earlier = read_plan(path) if path.exists() else Plan(schema=1, commands=[], jobs=[])
    planned = {job["folder"]: job for job in [*earlier["jobs"], *map(asdict, jobs)]}
    commands = list(dict.fromkeys([*earlier["commands"], command]))
    record = {"schema": 1, "commands": commands, "jobs": list(planned.values())}
    return write_text_atomically(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def check_folders(jobs: Sequence[PlannedJob]) -> None:
    """Raise a UserError where two jobs would land in the same folder, or one outside of the sweep's."""
    job_of_folder: dict[str, PlannedJob] = {}
    for job in jobs:
        if job.folder.startswith(".."):
            raise UserError(
                f"the job {_words(job)} would leave the folder of its sweep for {job.folder}: jobs of one sweep differ "
                "in variant=... and seed=..., not in name=... or output=..."
            )
        twin = job_of_folder.setdefault(job.folder, job)
        if twin is not job:
            raise UserError(
                f"two jobs of the sweep would land in {job.folder}: {_words(twin)} and {_words(job)}. "
                f"Tell them apart by seed=..., or by variant=..., {_example(twin, job)}."
            )


def _words(job: PlannedJob) -> str:
    return f"'{' '.join(job.overrides)}'"


def _example(one: PlannedJob, other: PlannedJob) -> str:
    """How a variant can be named after the first config key in which two jobs differ."""
    keys = (word.partition("=")[0].lstrip("+") for word in other.overrides if word not in one.overrides)
    key = next((key for key in keys if "." in key), "model.backbone")
    return f"such as 'variant={other.variant}-${{{key}}}'"
