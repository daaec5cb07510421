"""Whole sweeps, as a person starts them."""

import json
import re
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


def test_six_of_eight_jobs_finish_and_the_same_command_runs_the_other_two(command: Command, tmp_path: Path) -> None:
    words = ("seed=range(8)", "hydra.launcher.slots=2")
    folder = tmp_path / "outputs" / "smoke" / "single"
    done = command(*words, fates="seed-3:kill seed-5:raise")

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    _, sentence = done.stderr.split("error: ")
    assert "2 of 8 jobs failed; the same command runs exactly these again" in sentence
    assert re.search(r"plain/seed-3: ended by signal 9, Killed \(.*plain/seed-3/output\.log\)", sentence)
    assert re.search(r"plain/seed-5: RuntimeError: a hammer fell on it \(.*plain/seed-5/output\.log\)", sentence)
    first = results(folder)
    assert sorted(name for name, result in first.items() if result["status"] == "finished") == [
        f"plain/seed-{seed}" for seed in (0, 1, 2, 4, 6, 7)
    ]
    table = (folder / "table.csv").read_text()
    assert "a hammer fell on it" in table
    assert len(json.loads((folder / "sweep.json").read_text())["jobs"]) == 8
    assert (folder / "index.html").exists()

    untouched = {name: (folder / name / "result.json").stat().st_mtime_ns for name in first}
    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished before") == 6
    second = results(folder)
    assert {result["status"] for result in second.values()} == {"finished"}
    changed = [name for name in first if (folder / name / "result.json").stat().st_mtime_ns != untouched[name]]
    assert sorted(changed) == ["plain/seed-3", "plain/seed-5"]


def test_three_jobs_of_two_ranks_each_give_three_results(command: Command, tmp_path: Path) -> None:
    output = "my rocks, 1=2 é"
    words = ("seed=0,1,2", "trainer.devices=2", "trainer.strategy=ddp", f"output='{output}'")
    # Four cards that are not there make two slots of two; a CPU job does not look for them.
    done = command(*words, "hydra.launcher.cards=[0,1,2,3]", "hydra.launcher.cards_per_slot=2")

    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / output / "single"
    found = results(folder)
    assert sorted(found) == [f"plain/seed-{seed}" for seed in range(3)]
    assert {result["status"] for result in found.values()} == {"finished"}
    assert [attempts(folder, name) for name in found] == [1, 1, 1]
    for name in found:
        assert (folder / name / "output.log").read_text().count("run folder:") == 1
        # Hydra's log of the second rank, in the folder of the first.
        assert [path.name for path in (folder / name).glob("train_ddp*")] == ["train_ddp_process_1.log"]
    # No rank has started a sweep, or a folder, of its own.
    assert [path.name for path in tmp_path.glob("*/single")] == ["single"]
    assert done.stdout.count("report:") == 1


def test_a_stopped_sweep_keeps_what_there_is_and_the_same_command_goes_on(command: Command, tmp_path: Path) -> None:
    words = ("seed=0,1", "hydra.launcher.slots=2")
    folder = tmp_path / "outputs" / "smoke" / "single"
    # The first job stops the whole sweep when it has learned.
    done = command(*words, fates="seed-0:stop")
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert results(folder)["plain/seed-0"]["status"] == "interrupted"
    assert done.stdout.count("report:") == 1

    done = command(*words)
    assert done.returncode == 0, done.stderr
    assert [result["status"] for result in results(folder).values()] == ["finished", "finished"]
