"""What a run has logged to W&B offline, read with W&B's own tool."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Recorded(NamedTuple):
    """One offline run."""

    folder: Path
    run: dict[str, Any]  # run_id, display_name, run_group, job_type, project
    config: dict[str, Any]
    history: list[dict[str, Any]]
    summary: dict[str, Any]  # media have nested names: `val/pictures.count`
    exit_code: int | None  # None: the run was not finished at W&B

    @property
    def keys(self) -> set[str]:
        """Names of everything that was logged; media without their nested parts."""
        logged = {key for row in self.history for key in row} | set(self.summary)
        return logged | {key.rpartition(".")[0] for key in logged if key.endswith("._type")}

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of a logged table."""
        content = json.loads((self.folder / "files" / self.summary[f"{name}.path"]).read_text())
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def offline_runs(folder: Path) -> list[Recorded]:
    """All offline runs below `folder`, in the order of their start."""
    found = [_recorded(path.parent) for path in folder.rglob("run-*.wandb")]
    return sorted(found, key=lambda recorded: recorded.run["start_time"])


def _recorded(folder: Path) -> Recorded:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    of_kind = {kind: [record[kind] for record in records if record["type"] == kind] for kind in _KINDS}
    return Recorded(
        folder,
        of_kind["run"][0],
        _merged(of_kind["config"]),
        [record["item"] for record in of_kind["history"]],
        _merged(of_kind["summary"]),
        of_kind["exit"][0].get("exit_code", 0) if of_kind["exit"] else None,
    )


_KINDS = ("run", "config", "history", "summary", "exit")


def _merged(updates: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: value for record in updates for key, value in record["update"].items()}
