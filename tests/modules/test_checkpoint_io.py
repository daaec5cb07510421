"""A checkpoint is the old one or the new one at every moment, and needs no folder but its own."""

import errno
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from fpcn_lightning.errors import WriteError
from fpcn_lightning.modules.checkpoint_io import AtomicCheckpointIO


def save(path: Path, value: float, size: int = 10) -> None:
    AtomicCheckpointIO().save_checkpoint({"weights": torch.full((size,), value)}, path)


def loaded(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["weights"][0])


def test_a_checkpoint_is_written_without_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    path = tmp_path / "checkpoints" / "last.ckpt"
    for value in (1.0, 2.0):
        save(path, value)
        assert loaded(path) == value
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    save(path, 1.0)

    def full(file: Path, data: object) -> None:
        file.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"last\.ckpt cannot be written \(no space left on device"):
        save(path, 2.0)
    assert loaded(path) == 1.0
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".last.ckpt.123").write_bytes(b"half")
    save(tmp_path / "last.ckpt", 1.0)
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    code = (
        "import itertools, sys; from pathlib import Path; from tests.modules.test_checkpoint_io import save\n"
        "for value in itertools.count(): save(Path(sys.argv[1]), float(value), 5_000_000)"
    )
    for kill in range(5):
        process = subprocess.Popen([sys.executable, "-c", code, str(path)])
        path.unlink(missing_ok=True)
        while not path.exists():
            time.sleep(0.05)
            assert process.poll() is None
        time.sleep(0.03 + 0.11 * kill)
        process.kill()
        process.wait()
        loaded(path)
