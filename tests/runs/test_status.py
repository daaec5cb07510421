import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.report.table import summarise
from fpcn_lightning.runs.lock import LOCK_NAME, hold_lock
from fpcn_lightning.runs.results import Run, write_result
from fpcn_lightning.runs.status import status_of
from tests.runs.test_results import make_failed, make_result

TRAINS = "import sys, pathlib, time; from fpcn_lightning.runs.lock import hold_lock\n"
TRAINS += "with hold_lock(pathlib.Path(sys.argv[1])): print('trains', flush=True); time.sleep(60)"


def running(folder: Path) -> Run:
    return folder, make_failed(status="running", error=None)


def test_a_run_lives_as_long_as_its_process_and_died_when_that_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", TRAINS, str(tmp_path)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"trains\n"
            assert status_of(running(tmp_path)) == ("running", None)
        finally:
            process.send_signal(signal.SIGKILL)
    assert status_of(running(tmp_path)) == ("died", "exited without an error message, perhaps killed")
    (tmp_path / "output.log").touch()
    assert status_of(running(tmp_path)) == ("died", "exited without an error message, perhaps killed: see output.log")


def test_looking_takes_nothing_away_from_a_run_that_begins_afterwards(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    assert status_of(running(tmp_path)).status == "died"
    with hold_lock(tmp_path):
        assert status_of(running(tmp_path)).status == "running"


def test_a_folder_without_a_lock_tells_nothing_and_gets_none(tmp_path: Path) -> None:
    assert status_of(running(tmp_path)) == ("running", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", ["SystemExit: 1", "KeyboardInterrupt: "])
def test_an_interruption_is_said_in_words_that_a_person_understands(tmp_path: Path, error: str) -> None:
    status, said = status_of((tmp_path, make_failed(status="interrupted", error=error)))
    assert status == "interrupted"
    assert said == "stopped from outside; the same command resumes it"


def test_every_other_run_speaks_for_itself(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    assert status_of((tmp_path, make_failed())) == ("failed", "the disk is full")
    assert status_of((tmp_path, make_result())) == ("finished", None)


def test_the_row_of_a_run_that_died_says_so(tmp_path: Path) -> None:
    run = running(tmp_path)
    write_result(*run)
    (tmp_path / LOCK_NAME).touch()
    (row,) = summarise([run])
    assert (row.status, row.error) == ("died", "exited without an error message, perhaps killed")
