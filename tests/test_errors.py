"""What the user is told about errors of the disk and of worker processes."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from fpcn_lightning import errors
from fpcn_lightning.errors import RunInUse, UserError, WriteError, explain


def test_a_full_disk_is_told_with_the_path_the_free_space_and_what_to_do(tmp_path: Path) -> None:
    error = WriteError.of(tmp_path / "new" / "map.tif", OSError(errno.ENOSPC, "No space left on device"))
    assert str(error).startswith(f"{tmp_path}/new/map.tif cannot be written (no space left on device; ")
    assert "MB are free): free some space there, or choose another folder" in str(error)
    explained = explain(error)
    assert explained is not None
    assert (explained.text, explained.exit_code) == (str(error), 1)


def test_a_disk_without_free_files_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoFiles:
        f_favail, f_files, f_bavail, f_bfree, f_blocks, f_frsize = 0, 100, 5, 5, 10, 1_000_000

    monkeypatch.setattr(os, "statvfs", lambda _: NoFiles)
    error = WriteError.of(tmp_path / "a", OSError(errno.ENOSPC, "No space left on device"))
    assert "5.0 MB of 10.0 MB are free; no further file can be made there" in str(error)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EISDIR])
def test_other_reasons_come_without_the_free_space(tmp_path: Path, number: int) -> None:
    text = str(WriteError.of(tmp_path / "a", OSError(number, os.strerror(number))))
    assert os.strerror(number)[1:] in text
    assert "free" not in text


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (UserError("wrong key."), "wrong key.", 2),
        (RunInUse("taken."), "taken.", 75),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), "/a/b cannot be written (no space left", 1),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written (read-only file system)", 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b"), "/a/b: No such file", 1),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "data.workers=0", 1),
    ],
)
def test_errors_that_the_user_can_act_on_have_a_sentence(error: Exception, text: str, code: int) -> None:
    explained = explain(error)
    assert explained is not None
    assert text in explained.text
    assert explained.exit_code == code


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("another"), OSError("without a number")])
def test_other_errors_have_none(error: Exception) -> None:
    assert explain(error) is None


def test_it_survives_the_way_from_another_process(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(WriteError.of(tmp_path / "a", OSError(errno.EROFS, "Read-only file system"))))
    assert isinstance(error, errors.WriteError)
    assert "a cannot be written (read-only file system)" in str(error)
