"""How long commands take to start, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning

from fpcn_lightning.profiling.results import BenchmarkRow, missing
from fpcn_lightning.profiling.rounds import interleaved, spread

PART = "start"
UNIT = "s"
PROGRAM = (sys.executable, "-m", "fpcn_lightning")
IMPORTS = (
    "import fpcn_lightning.tasks.outcome, fpcn_lightning.tasks.budget, fpcn_lightning.build, lightning, timm, hydra"
)
HELP, CONFIG, STEP, IMPORTED, REFUSED = (
    "--help",
    "--cfg job",
    "a run until its first step",
    "of which imports",
    "a wrong data.root is refused",
)
_LONGEST = 600.0  # seconds


class FirstStepClock(lightning.Callback):
    """Ends the process when the first training step begins.

    Args:
        path: of a file that is made then.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_batch_start(self, *_: Any) -> None:
        """End the process."""
        self.path.touch()
        os._exit(0)


def measure_starts(words: Sequence[str], rounds: int) -> Iterator[BenchmarkRow]:
    """Seconds until commands have done what they were asked to, in turns.

    Args:
        words: of a command that trains, without those of Hydra.
        rounds: of each command.
    """
    with tempfile.TemporaryDirectory() as folder:
        clock = Path(folder) / "began"
        target = f"{FirstStepClock.__module__}.{FirstStepClock.__qualname__}"
        callback = [f"+callbacks.clock._target_={target}", f"+callbacks.clock.path={clock}"]
        own = [*words, f"output={folder}", "overwrite=true"]
        missing_root = Path(folder) / "photographs"
        commands: dict[str, list[str]] = {
            HELP: [*PROGRAM, "--help"],
            CONFIG: [*PROGRAM, "--cfg", "job"],
            STEP: [*PROGRAM, *own, *callback],
            IMPORTED: [sys.executable, "-c", IMPORTS],
            REFUSED: [*PROGRAM, "data=folder", f"data.root={missing_root}", f"output={folder}"],
        }
        forms: dict[str, Callable[[], object]] = {name: partial(_run, command) for name, command in commands.items()}
        forms[STEP]()  # it fills the cache, and shows whether it works
        if not clock.exists():
            yield missing(PART, STEP, UNIT, f"this command fails: {' '.join([*PROGRAM[1:], *own])}")
            del forms[STEP]
        taken = interleaved(forms, rounds, warm_up=0)
        for name, seconds in taken.items():
            yield BenchmarkRow(PART, name, UNIT, spread(seconds))


def _run(command: Sequence[str]) -> None:
    null = subprocess.DEVNULL
    subprocess.run(command, stdout=null, stderr=null, timeout=_LONGEST, check=False, start_new_session=True)
