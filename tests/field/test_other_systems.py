"""The commands on a bundle where the system has none of what only Linux or POSIX has, as on Windows.

The absence is simulated: Python runs a file `sitecustomize.py` of the test's own at the start of every process, the
helper process that decodes pictures included. What Python's own `subprocess` needs on this system stays.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.data import index
from tests.field.conftest import paint

ABSENT = """\
import os, signal, sys, warnings
warnings.filterwarnings('ignore', 'only soft file lock is available')  # filelock has another one for Windows
for name in (
    "O_NONBLOCK", "statvfs", "sysconf", "sched_getaffinity", "mkfifo", "getuid", "geteuid", "killpg", "setsid",
):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGALRM", "SIGPIPE", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
open_file = os.open
def open_no_folder(path, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return open_file(path, *arguments, **options)
os.open = open_no_folder
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of processes on such a system."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(ABSENT, encoding="utf-8")
    known = [str(site), str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(known)}


def fpcn(*words: str | Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "fpcn_lightning.quickstart.command", *map(str, words)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_the_simulation_reaches_the_process(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    code = "import os, signal, sys; print(hasattr(os, 'sysconf'), hasattr(signal, 'SIGHUP'), sys.modules['resource'])"
    done = subprocess.run([sys.executable, "-c", code], env=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout == "False False None\n"


def test_predict_check_and_info_run(bundle_folder: Path, tmp_path: Path, elsewhere: dict[str, str]) -> None:
    for colour in ("red", "green", "blue"):
        paint(tmp_path / "photographs" / colour / "1.png", colour)
    (tmp_path / "photographs" / "red" / "2.jpg").write_text("no picture")
    done = fpcn("predict", bundle_folder, "photographs", folder=tmp_path, environment=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 pictures in predictions.csv" in done.stdout
    written = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    assert "red/1.png" in written.replace("\\", "/")
    done = fpcn("check", bundle_folder, "photographs", folder=tmp_path, environment=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")
    done = fpcn("info", bundle_folder, folder=tmp_path, environment=elsewhere)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_photograph_on_another_drive_is_named_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no relative path from one drive to another."""

    def another_drive(path: object, start: object) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    for label in ("basalt", "tuff"):
        paint(tmp_path / label / "1.png")
    (tmp_path / "list.csv").write_text(f"path,label\n{tmp_path}/basalt/1.png,basalt\n{tmp_path}/tuff/1.png,tuff\n")
    monkeypatch.setattr("os.path.relpath", another_drive)
    names = [file.name for file in index.find(tmp_path / "list.csv", {})]
    assert names == [(tmp_path / label / "1.png").as_posix() for label in ("basalt", "tuff")]
