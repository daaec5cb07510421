"""How much the slots launcher costs: short jobs on two CPU slots, against the ideal of a job alone, round after round.

    python experiments/slots/benchmark.py

A job is a smoke training with one thread; most of its time is the start of Python and torch. It is measured alone, as a
process without a launcher, before and after the sweep, which shows whether the machine became slower meanwhile.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean

JOBS, SLOTS = 8, 2
JOB = ("trainer=smoke", "model=plain", "callbacks.summary=null", "data.synthetic.images_per_class=20")


def start(words: list[str], folder: Path) -> "subprocess.Popen[str]":
    """Start the program in `folder`, with one thread, and with the image cache there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "fpcn_lightning", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def alone(seed: int, folder: Path) -> float:
    """Seconds of one job as a process of its own."""
    began = time.monotonic()
    process = start([*JOB, "name=alone", f"seed={seed}"], folder)
    process.communicate()
    if process.returncode:
        sys.exit(f"the job alone exited with {process.returncode}")
    return time.monotonic() - began


def sweep(folder: Path) -> tuple[float, float]:
    """Seconds from the command to the end of the last job, and to the end of its report."""
    began = time.monotonic()
    process = start(["-m", *JOB, f"seed=range({JOBS})", f"hydra.launcher.slots={SLOTS}"], folder)
    jobs = 0.0
    for line in process.stdout or ():
        print("   ", line, end="")
        if line.startswith(f"[{JOBS}/{JOBS}]"):
            jobs = time.monotonic() - began
    if process.wait() or not jobs:
        sys.exit(f"the sweep exited with {process.returncode}")
    return jobs, time.monotonic() - began


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone(1000, folder)  # draws and caches the images
        before = alone(1001, folder)
        jobs, whole = sweep(folder)
        after = alone(1002, folder)
    ideal = JOBS / SLOTS * fmean((before, after))
    print(f"one job alone: {before:.1f} s before, {after:.1f} s after")
    print(f"ideal of {JOBS // SLOTS} rounds: {ideal:.1f} s")
    print(f"{JOBS} jobs on {SLOTS} slots: {jobs:.1f} s, {jobs / ideal:.2f} times the ideal")
    print(f"with the report: {whole:.1f} s, {whole / ideal:.2f} times the ideal")


if __name__ == "__main__":
    main()
