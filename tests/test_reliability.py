"""`make reliability` in its smallest form: it kills, starts again, compares, goes on, and tells what was lost."""

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "experiments" / "reliability" / "run.py"


@pytest.fixture
def reliability(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reliability", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reliability", module)  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "README.md").write_text("Before.\n<!-- table: begin -->\n<!-- table: end -->\nAfter.\n")
    return folder


def test_pictures_are_counted_and_the_table_is_written(reliability: ModuleType, tmp_path: Path) -> None:
    folder = results(tmp_path)
    words = ["--only", "pictures", "--count", "30", "--results", str(folder)]
    assert reliability.main(words) == 0
    found = json.loads((folder / "results.json").read_text())["pictures"]
    assert found["files"] == sum(found["counts"].values()) == 30
    text = (folder / "README.md").read_text()
    assert text.startswith("Before.\n<!-- table: begin -->\n| command |")
    assert text.endswith("<!-- table: end -->\nAfter.\n")
    assert "30 damaged pictures" in text


# A command that writes a file in two parts, and a second time where it finds the first.
LOSES = """
import pathlib, sys, time
path = pathlib.Path(sys.argv[1]) / "file"
path.parent.mkdir(exist_ok=True)
with path.open("a") as file:
    for part in "ab":
        print(part, file=file, flush=True)
        time.sleep(0.5)
"""


def test_what_is_lost_is_named_and_what_is_known_is_not_run_again(
    reliability: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = results(tmp_path)
    kind = reliability.Kind(3, lambda place, _: [sys.executable, "-S", "-c", LOSES, str(place / "out")])
    monkeypatch.setattr(reliability, "KINDS", {"loses": kind})
    monkeypatch.setattr(reliability, "prepare", lambda work: reliability.Prepared(work))
    words = ["--only", "kills", "--kinds", "loses", "--folder", str(tmp_path / "work"), "--results", str(folder)]
    assert reliability.main(words) == 1
    entry = json.loads((folder / "results.json").read_text())["kills"]["loses"]
    assert len(entry["kills"]) == 3
    lost = [each for each in entry["kills"].values() if each["failed"]]
    assert lost
    assert all(each["differing"] == ["out/file"] and each["exit_code"] == 0 for each in lost)
    assert not list((tmp_path / "work" / "runs").iterdir())
    monkeypatch.setattr(reliability, "baseline", None)  # everything is known: nothing runs
    assert reliability.main(words) == 1


def test_a_process_is_killed_with_all_that_it_has_started(reliability: ModuleType, tmp_path: Path) -> None:
    code = f"import pathlib, time; time.sleep(3); pathlib.Path({str(tmp_path / 'lives')!r}).touch()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], start_new_session=True)"
    process = subprocess.Popen([sys.executable, "-c", parent])
    while not reliability.descendants(process.pid):
        assert process.poll() is None
        time.sleep(0.01)
    reliability.kill(process)
    time.sleep(3.5)
    assert not (tmp_path / "lives").exists()


@pytest.mark.slow
@pytest.mark.exhaustive  # `make reliability` in small, and four minutes: kills are tested in tests/tasks, too
def test_a_command_that_is_killed_goes_on(reliability: ModuleType, tmp_path: Path) -> None:
    folder = results(tmp_path)
    words = ["--kinds", "train,predict", "--count", "2", "--folder", str(tmp_path / "work"), "--results", str(folder)]
    assert reliability.main([*words, "--only", "kills"]) == 0
    found = json.loads((folder / "results.json").read_text())["kills"]
    assert {name: len(entry["kills"]) for name, entry in found.items()} == {"train": 2, "predict": 2}
