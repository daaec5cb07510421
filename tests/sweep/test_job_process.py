"""The process of a job: what is imported already, and that it does what its command line does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.sweep.job_process import PRELOADED
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.slots import Slot
from tests.sweep.test_processes import PROGRAM, silent


def run(job: Job, **environment: str) -> Ended:
    (ended,) = run_jobs([job], [Slot(0, environment)], silent(), 1)
    return ended


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a job imports everything itself")
@pytest.mark.parametrize("threads", ["1", "2"])  # the server is the same, and was started with one of them or another
def test_a_job_starts_with_the_imports_of_a_training_and_its_own_environment(threads: str, tmp_path: Path) -> None:
    code = (
        "import atexit, os, sys\n"
        "loaded = {'torch', 'timm', 'lightning.pytorch'} <= sys.modules.keys()\n"
        "import torch\n"
        "print(loaded, torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], os.getcwd(), sys.argv[1:])\n"
        "atexit.register(print, 'at exit')"
    )
    ended = run(Job("job", tmp_path, (code, "word"), PROGRAM), OMP_NUM_THREADS=threads)
    assert ended.outcome == "finished"
    assert ended.job.log.read_text().splitlines()[-2:] == [
        f"True {threads} {threads} {Path.cwd()} ['word']",
        "at exit",
    ]


def test_the_imports_do_not_look_for_a_gpu() -> None:
    """CUDA cannot be used in a process that was forked after it was initialised."""
    code = (
        "import torch\n"
        "def refuse(*_): raise AssertionError('CUDA is used at import')\n"
        "for name in ('_cuda_init', '_cuda_getDeviceCount'):\n"
        "    if hasattr(torch._C, name): setattr(torch._C, name, refuse)\n"
        "torch.cuda.device_count = torch.cuda.is_available = refuse\n"
        f"import {', '.join(PRELOADED)}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.exhaustive  # with one thread: tests/tasks/test_signals.py
def test_a_job_gives_the_same_bits_as_its_command_line(rocks: Path, tmp_path: Path) -> None:
    folders = tmp_path / "job", tmp_path / "command"
    words = ("trainer=smoke", "model=plain", "data=folder", f"data.root={rocks}", "callbacks.summary=null")
    jobs = [Job("job", folder, (*words, f"hydra.run.dir={folder}")) for folder in folders]
    ended = run(jobs[0], OMP_NUM_THREADS="2")
    assert ended.outcome == "finished", ended.reason
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    subprocess.run(jobs[1].command, env=environment, capture_output=True, check=True)
    for name in ("metrics.csv", "test_predictions.csv"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
