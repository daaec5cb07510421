"""What a sweep is going to run: `sweep.json`, from which the report knows what is missing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.plan import PLAN_NAME, Plan, read_plan
from fpcn_lightning.report.whole_file import write_whole


@dataclass(frozen=True)
class PlannedJob:
    """One run of a sweep; `folder` is relative to the folder of the sweep, with slashes."""

    variant: str
    seed: int
    folder: str
    overrides: tuple[str, ...]


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
    return write_whole(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


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
