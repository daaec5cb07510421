"""Whole sweeps, as a user starts them."""

import json
import re
import signal
from pathlib import Path

import pytest

from fpcn_lightning.runs.results import Result, find_results
from tests.sweep.conftest import Command

pytestmark = pytest.mark.slow


def results(folder: Path) -> dict[str, Result]:
    return {path.relative_to(folder).as_posix(): result for path, result in find_results(folder)}


def attempts(folder: Path, name: str) -> int:
    """How often a job was started."""
    return len(re.findall(r"^\$ ", (folder / name / "output.log").read_text(), re.MULTILINE))


def test_a_sweep_that_is_stopped_and_fails_in_part_is_completed_by_the_same_command(
    command: Command, tmp_path: Path
) -> None:
    words = ("seed=range(5)", "hydra.launcher.slots=2")
    folder = tmp_path / "outputs" / "smoke" / "single"
    # The first job stops the whole sweep when it is trained.
    done = command(*words, failures="seed-0:stop")
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert "Traceback" not in done.stderr
    assert results(folder)["plain/seed-0"]["status"] == "interrupted"
    assert done.stdout.count("report:") == 1

    done = command(*words, failures="seed-3:kill seed-4:raise")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    _, sentence = done.stderr.split("error: ")
    assert "2 of 5 jobs failed; the same command runs exactly these again" in sentence
    assert re.search(r"plain/seed-3: ended by signal 9, Killed \(.*plain/seed-3/output\.log\)", sentence)
    assert re.search(r"plain/seed-4: RuntimeError: planned failure \(.*plain/seed-4/output\.log\)", sentence)
    first = results(folder)
    assert sorted(name for name, result in first.items() if result["status"] == "finished") == [
        f"plain/seed-{seed}" for seed in (0, 1, 2)
    ]
    table = (folder / "table.csv").read_text()
    assert "planned failure" in table
    assert len(json.loads((folder / "sweep.json").read_text())["jobs"]) == 5
    assert (folder / "index.html").exists()

    untouched = {name: (folder / name / "result.json").stat().st_mtime_ns for name in first}
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished before") == 3
    second = results(folder)
    assert {result["status"] for result in second.values()} == {"finished"}
    changed = [name for name in first if (folder / name / "result.json").stat().st_mtime_ns != untouched[name]]
    assert sorted(changed) == ["plain/seed-3", "plain/seed-4"]


def test_three_jobs_of_two_ranks_each_give_three_results(command: Command, tmp_path: Path) -> None:
    """Of an experiment in a config folder of the user's own, which the jobs must find, too."""
    own = tmp_path / "my conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nname: mine\n")
    output = "my rocks, 1=2 é"
    words = ("seed=0,1,2", "trainer.devices=2", "trainer.strategy=ddp", f"output='{output}'", "+experiment=mine")
    # Four simulated GPUs make two slots of two; a CPU job does not look for them.
    slots = ("hydra.launcher.gpus=[0,1,2,3]", "hydra.launcher.gpus_per_job=2")
    done = command(*words, *slots, f"--config-dir={own.parent}")

    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / output / "mine"
    found = results(folder)
    assert sorted(found) == [f"plain/seed-{seed}" for seed in range(3)]
    assert {result["status"] for result in found.values()} == {"finished"}
    assert [attempts(folder, name) for name in found] == [1, 1, 1]
    for name in found:
        assert (folder / name / "output.log").read_text().count("run folder:") == 1
        # Hydra's log of the second rank, in the folder of the first.
        assert [path.name for path in (folder / name).glob("train_ddp*")] == ["train_ddp_process_1.log"]
    # No rank has started a sweep, or a folder, of its own.
    assert [path.name for path in tmp_path.glob("*/mine")] == ["mine"]
    assert done.stdout.count("report:") == 1
