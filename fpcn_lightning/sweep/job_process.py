"""The process of a job: forked from a server that has imported what a training needs, which takes seconds.

The server is that of `multiprocessing`. It has run nothing: a job starts from the state of a new Python process that
has imported these modules.
"""

import atexit
import multiprocessing
import os
import runpy
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from fpcn_lightning.sweep.jobs import Job

PRELOADED = ("fpcn_lightning.cli.main", "fpcn_lightning.cli.paths", "fpcn_lightning.modules.assembly")
# What a terminal that closes and a cluster send to all processes: the server must be there until the jobs have stopped.
_OF_THE_SWEEP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
_THREADS = "OMP_NUM_THREADS"


def start_job(job: Job, environment: Mapping[str, str]) -> ForkServerProcess:
    """Start a job as a process of a session of its own: Ctrl-C does not reach it, and what it starts is in its group.

    Args:
        job: its output is added to its log, which exists.
        environment: all variables of the job. The first job starts the server, which keeps them: the libraries of all
            jobs are imported with its number of threads.
    """
    context = multiprocessing.get_context("forkserver")
    # The system libraries of macOS cannot be used after a fork.
    context.set_forkserver_preload(list(PRELOADED) if sys.platform == "linux" else [])
    process = context.Process(target=_run, args=(job, dict(environment), str(Path.cwd())), name=job.name)
    with _held_back(), _environment(environment):
        process.start()
    return process


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals of the sweep back; processes that are started in this block never receive them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_SWEEP)
    try:
        resource_tracker.ensure_running()  # `multiprocessing` starts it first, and unblocks two signals after that
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_SWEEP)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: Mapping[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def _run(job: Job, environment: Mapping[str, str], folder: str) -> None:
    """Become the job: run its module as `python -m` does."""
    os.setsid()
    _take_signals()
    _end_with_the_sweep()
    os.chdir(folder)
    _write_to(job.log)
    threads = os.environ.get(_THREADS)
    _set_environment(environment)
    if environment.get(_THREADS, threads) != threads:
        import torch

        torch.set_num_threads(int(environment[_THREADS]))
    sys.argv = [job.module, *job.arguments]
    try:
        runpy.run_module(job.module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which a process of `multiprocessing` leaves out


def _take_signals() -> None:
    # Slurm sends this warning of the time limit to every process of a job: submitit handles it, it would kill this one.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    # A background process of a shell ignores SIGINT, and so would everything that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_SWEEP)


def _end_with_the_sweep() -> None:
    """Interrupt this process like Ctrl-C when the sweep has died."""
    sweep = multiprocessing.parent_process()
    assert sweep is not None

    def wait() -> None:
        sweep.join()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, name="end with the sweep", daemon=True).start()


def _write_to(log: Path) -> None:
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
