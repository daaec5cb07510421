"""Sweeps: in this process with a task of the test's own, and as the real command."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from fpcn_lightning import config

SweepHere = Callable[..., None]
Command = Callable[..., "subprocess.CompletedProcess[str]"]

# Python runs this when a process starts: a run whose folder is named in FAILURES raises, is killed, or stops the sweep
# when it writes its predictions, that is, when it is trained and has a checkpoint. Each time, one mark is left.
SABOTAGE = """
import multiprocessing, os, signal, sys, time
failures = dict(item.split(":") for item in os.environ.get("FAILURES", "").split())
def fail(event, arguments):
    # A file is written under a hidden name next to its own.
    if event != "open" or "/.test_predictions.csv." not in str(arguments[0]):
        return
    failure = next((failure for folder, failure in failures.items() if f"{folder}/.test_" in arguments[0]), None)
    if failure is None:
        return
    with open(os.environ["MARKS"], "a") as marks:
        marks.write("x")
    if failure == "raise":
        raise RuntimeError("planned failure")
    if failure == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    # The sweep handles SIGTERM like Ctrl-C, also where a shell's background ignores Ctrl-C.
    os.kill(multiprocessing.parent_process().pid, signal.SIGTERM)
    time.sleep(60)
sys.addaudithook(fail)
"""


@pytest.fixture
def hydra_context() -> Iterator[HydraContext]:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())


def sweep_config(context: HydraContext, *words: str) -> DictConfig:
    """The config of a sweep itself, as the command line would compose it."""
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    return hydra.compose_config("config", [*words, "hydra.mode=MULTIRUN"], run_mode=RunMode.MULTIRUN)


def task_words(cfg: DictConfig) -> list[str]:
    """What Hydra passes to a sweeper."""
    words = OmegaConf.to_container(cfg.hydra.overrides.task, resolve=False)
    assert isinstance(words, list)
    return words


@pytest.fixture
def sweep_here(hydra_context: HydraContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepHere:
    """Sweep in `tmp_path` with the basic launcher, or another, and a task of the test's own."""

    def sweep(task: Callable[[DictConfig], Any], *words: str, launcher: str = "basic") -> None:
        monkeypatch.chdir(tmp_path)
        cfg = sweep_config(hydra_context, f"hydra/launcher={launcher}", *words)
        sweeper = Plugins.instance().instantiate_sweeper(hydra_context=hydra_context, task_function=task, config=cfg)
        sweeper.sweep(arguments=task_words(cfg))

    return sweep


@pytest.fixture
def command(tmp_path: Path, rocks: Path) -> Command:
    """Sweep with the real command in `tmp_path`, on the 30 rocks; `failures` such as "seed-3:kill seed-5:raise" says
    which runs raise, are killed, or stop the sweep."""
    (tmp_path / "sabotage").mkdir()
    (tmp_path / "sabotage" / "sitecustomize.py").write_text(SABOTAGE)

    def run(*words: str, failures: str = "") -> "subprocess.CompletedProcess[str]":
        small = ("trainer=smoke", "model=plain", "data=folder", f"data.root={rocks}", "callbacks.summary=null")
        sabotage = {"PYTHONPATH": str(tmp_path / "sabotage"), "FAILURES": failures, "MARKS": str(tmp_path / "marks")}
        # Ray keeps a secret in the home directory.
        environment = {**os.environ, **sabotage, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "fpcn_lightning", "-m", *small, *words],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )

    return run
