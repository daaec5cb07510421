"""Jobs on slots: each is a process with its own log, and one that dies does not affect the others."""

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import writing
from fpcn_lightning.runs.results import RESULT_NAME
from fpcn_lightning.stopping import LIKE_CTRL_C, signals_interrupt
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.slots import Slot

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from fpcn_lightning.sweep.overview import Overview

GRACE = 30.0  # seconds in which an interrupted job may write what it has
# These would make a job part of another distributed run, such as one that this process was part of.
_FOREIGN = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
_PAUSE = 0.1  # seconds between two checks of the running jobs


@dataclass(frozen=True)
class _Running:
    job: Job
    process: "ForkServerProcess"
    began: float  # time.monotonic
    result_before: object


def run_jobs(
    jobs: Iterable[Job],
    slots: Sequence[Slot],
    overview: "Overview",
    total: int | None,
    on_end: Callable[[Ended], None] | None = None,
    grace: float = GRACE,
) -> list[Ended]:
    """Run every job in the first slot that is free.

    Args:
        jobs: the next one is drawn only when a slot is free and `on_end` was called for every job that has ended.
        overview: shows what happens.
        total: number of jobs, None where that is unknown.
        on_end: is called with each job that has ended.
        grace: seconds between interrupting jobs and killing them.

    Returns:
        The jobs in the order in which they ended.

    Raises:
        KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP, after all that runs was interrupted; their folders are kept.
        UserError: this system is not POSIX.
    """
    if os.name != "posix":
        raise UserError("slots need Linux or macOS; a sweep also runs with hydra/launcher=basic.")
    waiting, running, ended = iter(jobs), dict[int, _Running](), list[Ended]()
    with overview.shown(total, len(slots)), signals_interrupt():
        try:
            while True:
                for slot in slots:
                    if slot.number not in running and (job := next(waiting, None)):
                        running[slot.number] = _start(job, slot)
                        overview.started(job, slot)
                if not running:
                    return ended
                for number, each in list(running.items()):
                    if _is_over(each):
                        del running[number]
                        ended.append(_ended(each))
                        overview.ended(ended[-1])
                        if on_end is not None:
                            on_end(ended[-1])
                overview.refresh()
                time.sleep(_PAUSE)
        finally:
            _stop(list(running.values()), grace)


def _start(job: Job, slot: Slot) -> _Running:
    from fpcn_lightning.sweep.job_process import start_job  # Windows has no fork server

    # Unbuffered, so that the log of a killed job is complete.
    inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    before = _state_of_result(job.folder)
    with writing(job.log):
        job.folder.mkdir(parents=True, exist_ok=True)
        with job.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(job.command)}\n")
    process = start_job(job, {**inherited, "PYTHONUNBUFFERED": "1", **slot.environment})
    return _Running(job, process, time.monotonic(), before)


def _is_over(running: _Running) -> bool:
    if running.process.exitcode is None:
        return False
    _signal(running, signal.SIGKILL)  # ranks and loader workers that the job left behind
    return True


def _ended(running: _Running) -> Ended:
    job, before, exit_code = running.job, running.result_before, running.process.exitcode
    assert exit_code is not None
    seconds = time.monotonic() - running.began
    if exit_code != 0:
        return Ended(job, exit_code, seconds, reason=_reason(exit_code, job.log))
    return Ended(job, exit_code, seconds, skipped=before is not None and before == _state_of_result(job.folder))


def _reason(exit_code: int, log: Path) -> str:
    if exit_code < 0:
        return f"ended by signal {-exit_code}, {signal.strsignal(-exit_code)}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {exit_code}")
    return last.removeprefix("error: ")  # as our own command line begins its messages


def _state_of_result(folder: Path) -> object:
    """Differs before and after a job that really ran: a run replaces its result when it starts and when it ends."""
    try:
        found = (folder / RESULT_NAME).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _stop(running: Sequence[_Running], grace: float) -> None:
    """Stop the jobs: interrupt, then terminate, then kill; a second Ctrl-C skips the waiting."""
    # A cluster that reclaims a machine repeats these signals: they must not shorten the waiting.
    for number in LIKE_CTRL_C:
        signal.signal(number, signal.SIG_IGN)
    alive = list(running)
    for number, patience in ((signal.SIGINT, grace), (signal.SIGTERM, grace / 10), (signal.SIGKILL, grace)):
        deadline = time.monotonic() + patience
        for each in alive:
            _signal(each, number)
        with contextlib.suppress(KeyboardInterrupt):
            while alive and time.monotonic() < deadline:
                time.sleep(_PAUSE)
                alive = [each for each in alive if not _is_over(each)]


def _signal(running: _Running, number: signal.Signals) -> None:
    """Send a signal to the job and to all that it started."""
    pid = running.process.pid
    assert pid is not None
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        if running.process.is_alive():  # it has not made its own session yet
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
