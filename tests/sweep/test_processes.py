import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from rich.console import Console

from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.overview import Overview
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.slots import Slot

ONE, TWO = [Slot(0, {})], [Slot(0, {"PLACE": "left"}), Slot(1, {"PLACE": "right"})]

PROGRAM = "tests.sweep.program"

# A process that holds the lock `name` for as long as it lives; a file shows that it has started.
HOLD = """
import filelock, pathlib, sys, time
lock = filelock.FileLock(f"{sys.argv[1]}.lock")
lock.acquire()
pathlib.Path(f"{sys.argv[1]}.lives").touch()
time.sleep(100)
"""
# The same, in a job that starts another such process, and leaves a file when it is interrupted.
FAMILY = f"""
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {HOLD!r}, "child"])
sys.argv[1] = "parent"
try:
    exec({HOLD!r})
except KeyboardInterrupt:
    pathlib.Path("interrupted").touch()
"""
# A sweep of one family, started in the background of a shell or not.
SWEEP = f"""
import pathlib, signal, sys
from fpcn_lightning.sweep import job_process
from fpcn_lightning.sweep.overview import Overview
from fpcn_lightning.sweep.jobs import Job
from fpcn_lightning.sweep.processes import run_jobs
from fpcn_lightning.sweep.slots import Slot
signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[1] == "background" else signal.default_int_handler)
job_process.PRELOADED = ()  # nothing that takes seconds
jobs = [Job("family", pathlib.Path("run"), ({FAMILY!r}, ""), {PROGRAM!r}) for _ in range(2)]
run_jobs(jobs, [Slot(0, {{}})], Overview(), 2)
"""


def silent() -> Overview:
    return Overview(Console(file=io.StringIO()))


def is_dead(lock: Path) -> bool:
    """Whether the process that held the lock has ended, reaped or not."""
    with FileLock(lock, timeout=20):
        return True


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was never written"
        time.sleep(0.02)


@pytest.fixture
def job(tmp_path: Path) -> Callable[[str, str], Job]:
    return lambda name, code: Job(name, tmp_path / name, (code,), PROGRAM)


MakeJob = Callable[[str, str], Job]


def test_one_slot_runs_the_jobs_in_order_and_one_at_a_time(job: MakeJob, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    jobs = [
        job(name, f"d = open({str(journal)!r}, 'a', 1); d.write('+{name}'); d.flush(); d.write('-{name}')")
        for name in "abcd"
    ]
    ended = run_jobs(jobs, ONE, silent(), 4)
    assert journal.read_text() == "+a-a+b-b+c-c+d-d"
    assert [each.job.name for each in ended] == list("abcd")
    assert {each.outcome for each in ended} == {"finished"}


def test_two_slots_run_two_jobs_at_a_time_each_in_its_own_environment(job: MakeJob, tmp_path: Path) -> None:
    # Each waits for the other: one after the other, they would never end.
    meet = (
        "import os, pathlib, time; pathlib.Path(r'{root}/{mine}').touch()\n"
        "while not pathlib.Path(r'{root}/{other}').exists(): time.sleep(0.01)\n"
        "print(os.environ['PLACE'], os.environ['PYTHONUNBUFFERED'])"
    )
    jobs = [job(f"job-{a}", meet.format(root=tmp_path, mine=a, other=b)) for a, b in ("xy", "yx")]
    ended = run_jobs(jobs, TWO, silent(), 2)
    said = {each.job.name: each.job.log.read_text().splitlines()[-1] for each in ended}
    assert said == {"job-x": "left 1", "job-y": "right 1"}


def test_a_job_is_not_part_of_a_distributed_run_of_this_process(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two jobs on one inherited port would fight for it; one with a rank would wait for the others.
    for name in ("MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    (ended,) = run_jobs(
        [job("job", "import os; print({'MASTER_PORT', 'LOCAL_RANK'} & {*os.environ})")], ONE, silent(), 1
    )
    assert ended.job.log.read_text().splitlines()[-1] == "set()"


def test_a_job_can_be_interrupted_and_ignores_the_warning_of_slurm(job: MakeJob) -> None:
    code = "import signal; print(*(signal.getsignal(n) for n in (signal.SIGINT, signal.SIGUSR2)))"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # like in the background of a shell
    try:
        (ended,) = run_jobs([job("job", code)], ONE, silent(), 1)
    finally:
        signal.signal(signal.SIGINT, before)
    interrupted, warned = ended.job.log.read_text().splitlines()[-1].split("> ")
    assert "default_int_handler" in interrupted
    assert int(warned) == signal.SIG_IGN


def test_a_job_that_dies_does_not_affect_the_others(job: MakeJob) -> None:
    jobs = [
        job("killed", "import os, signal; print('so far'); os.kill(os.getpid(), signal.SIGKILL)"),
        job("raises", "raise RuntimeError('no images here')"),
        job("taken", "raise SystemExit(75)"),
        job("reports", "raise SystemExit('error: the disk is full\\n')"),
        job("fine", "print('done')"),
    ]
    ended = {each.job.name: each for each in run_jobs(jobs, TWO, silent(), len(jobs))}
    assert {name: each.outcome for name, each in ended.items()} == {
        "killed": "failed",
        "raises": "failed",
        "taken": "taken",
        "reports": "failed",
        "fine": "finished",
    }
    assert ended["killed"].returncode == -signal.SIGKILL
    assert ended["killed"].reason == "ended by signal 9, Killed"
    assert "so far" in ended["killed"].job.log.read_text()
    assert ended["raises"].reason == "RuntimeError: no images here"
    assert ended["reports"].reason == "the disk is full"


def test_the_next_job_is_decided_when_a_slot_is_free(job: MakeJob) -> None:
    known: list[str] = []

    def decide() -> Iterator[Job]:
        for number in range(3):
            assert len(known) == number
            yield job(f"{number}-after-{'-'.join(known) or 'none'}", "")

    run_jobs(decide(), ONE, silent(), None, on_end=lambda ended: known.append(ended.job.name[0]))
    assert known == ["0", "1", "2"]


def test_an_error_of_the_caller_stops_what_runs(tmp_path: Path) -> None:
    def decide() -> Iterator[Job]:
        yield Job("job", tmp_path, (HOLD, str(tmp_path / "job")), PROGRAM)
        wait_for(tmp_path / "job.lives")
        raise ValueError("cannot decide")

    with pytest.raises(ValueError, match="cannot decide"):
        run_jobs(decide(), TWO, silent(), None)
    assert is_dead(tmp_path / "job.lock")


def test_a_second_attempt_is_added_to_the_log(job: MakeJob) -> None:
    for _ in range(2):
        (ended,) = run_jobs([job("again", "import sys; print('out'); print('err', file=sys.stderr)")], ONE, silent(), 1)
    lines = ended.job.log.read_text().splitlines()
    assert lines[0].startswith("$ ")
    assert lines == [lines[0], "out", "err"] * 2


def test_a_job_whose_result_is_unchanged_was_finished_before(job: MakeJob, tmp_path: Path) -> None:
    for name in ("idle", "busy", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}")
    rewrite = f"import pathlib; (pathlib.Path({str(tmp_path)!r}) / 'busy' / 'result.json').write_text('{{}}')"
    jobs = [job("idle", ""), job("busy", rewrite), job("broken", "raise SystemExit(1)"), job("new", "")]
    assert [each.outcome for each in run_jobs(jobs, ONE, silent(), 4)] == ["skipped", "finished", "failed", "finished"]


def test_processes_that_a_job_leaves_behind_are_killed(tmp_path: Path) -> None:
    held = str(tmp_path / "rank")
    leave = (
        f"import os, pathlib, subprocess, sys; subprocess.Popen([sys.executable, '-c', {HOLD!r}, {held!r}])\n"
        f"while not pathlib.Path({held + '.lives'!r}).exists(): pass\n"
        "os.kill(os.getpid(), 9)"
    )
    run_jobs([Job("job", tmp_path, (leave,), PROGRAM)], ONE, silent(), 1)
    assert is_dead(tmp_path / "rank.lock")


def test_signal_handlers_are_restored_at_the_end(job: MakeJob) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    run_jobs([job("job", "")], ONE, silent(), 1)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


def test_a_job_that_ignores_signals_is_killed(tmp_path: Path) -> None:
    deaf = f"import signal; [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM)]\n{HOLD}"

    def stop(ended: Ended) -> None:
        wait_for(tmp_path / "deaf.lives")
        raise KeyboardInterrupt

    jobs = [
        Job("deaf", tmp_path / "deaf", (deaf, str(tmp_path / "deaf")), PROGRAM),
        Job("short", tmp_path / "short", ("",), PROGRAM),
    ]
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, TWO, silent(), 2, on_end=stop, grace=0.3)
    assert is_dead(tmp_path / "deaf.lock")


@pytest.mark.parametrize(
    ("number", "place"),
    [(signal.SIGINT, "terminal"), (signal.SIGTERM, "background"), (signal.SIGHUP, "background")],
    ids=["ctrl-c", "terminated", "hung-up"],
)
def test_a_stopped_sweep_stops_its_jobs_and_all_that_they_started(
    number: signal.Signals, place: str, tmp_path: Path
) -> None:
    sweep = subprocess.Popen(
        [sys.executable, "-c", SWEEP, place], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(tmp_path / "parent.lives")
    wait_for(tmp_path / "child.lives")
    os.killpg(sweep.pid, number)  # as a terminal does, and a cluster
    _, said = sweep.communicate(timeout=60)
    assert "Stopped" in said or "KeyboardInterrupt" in said
    assert is_dead(tmp_path / "parent.lock")
    assert is_dead(tmp_path / "child.lock")
    assert (tmp_path / "interrupted").exists()
    assert len((tmp_path / "run" / "output.log").read_text().split("$ ")) == 2  # the second job was not started


def test_a_killed_sweep_interrupts_its_jobs(tmp_path: Path) -> None:
    sweep = subprocess.Popen([sys.executable, "-c", SWEEP, "background"], cwd=tmp_path)
    wait_for(tmp_path / "parent.lives")
    wait_for(tmp_path / "child.lives")
    sweep.kill()
    sweep.wait()
    assert is_dead(tmp_path / "parent.lock")
    assert (tmp_path / "interrupted").exists()
    # A job ends the processes that it started itself: Lightning its ranks, torch its loader workers.
