"""`task=benchmark`: what this machine does, and how long a training will take."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from fpcn_lightning.profiling.results import BenchmarkRow
from fpcn_lightning.profiling.rounds import spread
from fpcn_lightning.tasks import benchmark, budget
from tests.conftest import composed

TINY = (
    "task=benchmark",
    "trainer=smoke",
    "data=folder",
    "benchmark.rounds=1",
    "benchmark.photographs=12",
    "benchmark.threads=1",
)


def measured(rocks: Path, folder: Path, *words: str) -> dict[str, Any]:
    run_task(composed(*TINY, f"data.root={rocks}", f"output={folder}", *words, folder=folder))
    found = next((folder / "benchmarks").glob("*/benchmark.json"))
    assert (found.parent / "index.html").is_file()
    content: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return content


def test_the_plan_is_that_of_a_budget(rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "seconds_per_step", lambda *_: 6.0)
    monkeypatch.setattr(budget, "seconds_per_image", lambda *_: 0.0)
    words = ("benchmark.parts=[plan]", "model=plain", "trainer.max_epochs=5", "data.epoch_length=4")
    content = measured(rocks, tmp_path, *words)
    plan = content["rows"][0]
    assert (plan["unit"], plan["value"]["median"]) == ("minutes", 5 * 4 * 6 / 60)
    assert plan["note"] == "5 epochs of 4 steps, images in the cache"
    assert (content["network"], content["batch"]) == ("plain on test_resnet", 6)
    assert {"commit", "version", "dirty"} <= content["code"].keys()


@pytest.mark.slow
def test_the_loader_and_the_shares_of_a_step(rocks: Path, tmp_path: Path) -> None:
    content = measured(rocks, tmp_path, "benchmark.parts=[loader,shares]", "model=fpcn")
    rows = {row["what"]: row for row in content["rows"]}
    assert rows["this package, cached"]["reference"] == "PIL, torchvision v2 transforms"
    assert all(row["value"]["median"] > 0 for row in content["rows"])
    for name in ("plain", "fpcn"):
        parts = [rows[f"{name}: {part}"]["value"]["median"] for part in ("loader", "forward", "backward", "optimiser")]
        assert sum(parts) == pytest.approx(100)


def test_what_is_compared(rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def steps(compared: dict[str, Any], rounds: int, threads: int) -> Iterator[BenchmarkRow]:
        seen.update(compared)
        yield BenchmarkRow("step", "bare backbone", "ms an image", spread([1.0]))

    monkeypatch.setattr("fpcn_lightning.profiling.steps.measure_steps", steps)
    words = ("benchmark.parts=[step]", "model=fpcn", "benchmark.variants=[allocator,frozen,bf16,compile]")
    measured(rocks, tmp_path, *words)
    changed = ["memory not kept", "frozen", "bf16", "compile"]
    assert list(seen) == ["bare backbone", "plain", "fpcn", *(f"fpcn, {each}" for each in changed)]
    assert [step.reference for step in seen.values()] == [None, "bare backbone", "plain", *["fpcn"] * 4]
    assert [step.keep_memory for step in seen.values()] == [True, True, True, False, True, True, True]
    assert {(step.form.classes, step.form.per_class, step.form.size) for step in seen.values()} == {(3, 2, 64)}
    assert seen["bare backbone"].form.model is None
    assert seen["fpcn, compile"].form.compiled
    assert seen["fpcn, bf16"].form.precision == "bf16"
    assert seen["fpcn, frozen"].form.frozen_share == 0.5


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("benchmark.parts=[lader]", "benchmark.parts"),
        ("benchmark.variants=[fp8]", "benchmark.variants"),
        ("benchmark.rounds=0", "benchmark.rounds=0 must be at least 1"),
        ("benchmark.photographs=1", "benchmark.photographs=1 must be at least 4"),
        ("data.tiles=true", "set data.tiles=false"),
    ],
)
def test_values_that_cannot_be_measured(rocks: Path, tmp_path: Path, word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        measured(rocks, tmp_path, word)


def test_every_part_is_measured() -> None:
    assert tuple(benchmark._MEASURE) == benchmark.PARTS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ("[step,inference]", ("plain", "plain, model.int8.onnx, 1 thread")),
        pytest.param("[start]", ("a run until its first step", "--help"), marks=pytest.mark.exhaustive),
    ],
    ids=["step", "start"],
)
def test_a_real_command_measures(parts: str, names: tuple[str, ...], rocks: Path, tmp_path: Path) -> None:
    words = [*TINY, f"data.root={rocks}", f"output={tmp_path}", f"benchmark.parts={parts}"]
    command = [sys.executable, "-m", "fpcn_lightning", *words, "model=plain", "benchmark.variants=[]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = tmp_path / "benchmarks" / "plain-test_resnet" / "benchmark.json"
    rows = {row["what"]: row for row in json.loads(found.read_text(encoding="utf-8"))["rows"]}
    for name in names:
        assert rows[name]["value"]["median"] > 0, name
    assert f"benchmark: {found.parent / 'index.html'}" in done.stdout
