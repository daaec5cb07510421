"""One job on the machine of a cluster, and what to say where not even that came about."""

import io
import os
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fpcn_lightning.runs.status import LOG_NAME
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.overview import Overview
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.slots import Slot


def run_here(job: Job, folder: Path) -> Ended:
    """Run a job with this machine's Python and with what the cluster left in the environment.

    Args:
        job: its folder may be relative to `folder`.
        folder: where the sweep was started; every machine has it in the same place.
    """
    os.chdir(folder)
    local = replace(job, command=(sys.executable, *job.command[1:]))
    (ended,) = run_jobs([local], [Slot(0, {})], Overview(Console(file=io.StringIO())), 1)
    return replace(ended, job=job)


def lost(job: Job, error: Exception) -> Ended:
    """A job whose process on the cluster ended before it could say how."""
    line = str(error).strip().partition("\n")[0]
    return Ended(job, 1, 0.0, job.folder / LOG_NAME, reason=f"{type(error).__name__}: {line}")
