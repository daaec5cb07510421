"""One job on a machine of a cluster, and the record of one that could not run there."""

import io
import os
from pathlib import Path

from rich.console import Console

from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.overview import Overview
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.slots import Slot


def run_here(job: Job, folder: Path) -> Ended:
    """Run a job with this machine's Python and the environment that the cluster has set.

    Args:
        job: its folder may be relative to `folder`.
        folder: where the sweep was started; it has the same path on every machine.
    """
    os.chdir(folder)
    (ended,) = run_jobs([job], [Slot(0, {})], Overview(Console(file=io.StringIO())), 1)
    return ended


def lost(job: Job, error: Exception) -> Ended:
    """The record of a job whose process on the cluster ended without returning one."""
    line = str(error).strip().partition("\n")[0]
    return Ended(job, 1, 0.0, reason=f"{type(error).__name__}: {line}")
