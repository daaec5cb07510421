"""`experiments/speed`: the script for a GPU works at tiny sizes without Hydra; the table says what was not measured."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SPEED = Path(__file__).parents[1] / "experiments" / "speed"
WITHOUT = "hydra omegaconf wandb pytorch_grad_cam"


def run_gpu(*words: str) -> None:
    """Run gpu.py in a process that cannot import Hydra and others."""
    code = f"import runpy, sys; sys.modules.update(dict.fromkeys({WITHOUT.split()!r}))\n"
    code += f"sys.argv = ['gpu.py', *{list(words)!r}]; runpy.run_path({str(SPEED / 'gpu.py')!r}, run_name='__main__')"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_script_for_a_gpu_runs_at_tiny_sizes_without_hydra(tmp_path: Path) -> None:
    run_gpu("--device", "cpu", "--tiny", "--output", str(tmp_path))
    content = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    rows = {row["what"]: row for row in content["rows"]}
    for name in ("timm loop", "plain", "fpcn", "plain: images/s", "fpcn over plain: images/s"):
        assert rows[name]["value"]["median"] > 0, name
    assert rows["over the fastest training"]["value"]["median"] > 0
    assert rows["fpcn: synchronisations in training_step"]["note"] == "needs a GPU"
    assert (tmp_path / "gpu.md").read_text(encoding="utf-8").count("\n") == 2 + len(content["rows"])


@pytest.mark.slow
def test_without_a_gpu_nothing_is_measured(tmp_path: Path) -> None:
    run_gpu("--output", str(tmp_path))
    rows = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))["rows"]
    assert {(row["what"], row["value"], row["note"]) for row in rows} == {
        (name, None, "no GPU") for name in ("timm loop", "plain", "fpcn")
    }


@pytest.fixture
def speed() -> dict[str, Any]:
    return runpy.run_path(str(SPEED / "run.py"))


def row(what: str, part: str = "step", **values: Any) -> dict[str, Any]:
    return {"part": part, "what": what, "unit": "ms an image", "value": None, "ratio": None, "note": "", **values}


def result(*rows: dict[str, Any], load: float = 0.1, reason: str | None = None) -> dict[str, Any]:
    place = {"commit": "1" * 40, "dirty": False, "processor": "Xeon, VNNI", "seconds": 60, "date": "2026-11-30"}
    return {"rows": list(rows), "reason": reason, "load": load, **place}


def same(value: float) -> dict[str, float]:
    return dict.fromkeys(("median", "low", "high"), value)


def test_the_table_has_every_figure_and_says_what_was_not_measured(speed: dict[str, Any]) -> None:
    spread = {"median": 1.5, "low": 1.25, "high": 1.75}
    results = {
        "step": result(
            row("plain", value=same(30.0), ratio=same(2.0), reference="bare backbone"),
            row("fpcn", value=same(31.5), ratio=same(1.05), reference="plain"),
            load=3.0,
        ),
        "start": result(row("--help", unit="s", value=spread)),
        "gpu": result(reason="no GPU"),
    }
    lines = speed["table"](results).splitlines()
    assert len(lines) == 2 + len(speed["FIGURES"]) + 3 + len(results)
    figures = {line.split(" | ")[0]: line for line in lines}
    assert "**1.05** times" in figures["| FPCN step over plain, CPU"]
    training = figures["| training step on CPU, EfficientNet-Lite0, 160 px"]
    assert "plain: **30** ms an image, **2** times bare backbone" in training
    assert "**1.5** (1.25 to 1.75) s" in figures["| --help"]
    assert "| not measured: no GPU |" in figures["| GPU, ResNet-50: plain over timm's loop"]
    assert "| not measured |" in figures["| 8 jobs on 2 slots"]
    assert "**measured under load**" in figures["| step"]
    assert "measured under load" not in figures["| start"]


def test_every_figure_is_of_a_part(speed: dict[str, Any]) -> None:
    assert {part for _, _, part, _, _ in speed["FIGURES"]} == speed["PARTS"].keys()


def test_a_part_that_is_stopped_does_not_cost_the_others(
    speed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []

    def part(name: str) -> Any:
        def measure(_: Path) -> list[dict[str, Any]]:
            called.append(name)
            if name == "loader" and called.count(name) == 1:
                raise KeyboardInterrupt
            return [row(name, value=same(1.0))]

        return measure

    (tmp_path / "README.md").write_text("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
    names = speed["main"].__globals__
    monkeypatch.setitem(names, "LONGEST_WAIT", 0)  # this machine may be at work
    for name, value in (("RESULTS", tmp_path / "results.json"), ("README", tmp_path / "README.md")):
        monkeypatch.setitem(names, name, value)
    monkeypatch.setitem(names, "PARTS", {name: part(name) for name in ("step", "loader", "inference")})
    monkeypatch.setattr(sys, "argv", ["run.py"])
    with pytest.raises(KeyboardInterrupt):
        speed["main"]()
    speed["main"]()
    assert called == ["step", "loader", "loader", "inference"]
    assert list(json.loads((tmp_path / "results.json").read_text())) == ["step", "loader", "inference"]
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("before\n<!-- table -->\n\n| what |")
    assert page.endswith("<!-- end of table -->\nafter\n")
    monkeypatch.setattr(sys, "argv", ["run.py", "loader"])
    speed["main"]()
    assert called[4:] == ["loader"]
