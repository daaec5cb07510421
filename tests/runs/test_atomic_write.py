import errno
import os
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.runs.atomic_write import atomic_folder, atomic_write, leftovers, write_text_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise OSError("full")


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "areas.csv"
    with pytest.raises(OSError, match="full"):
        write_half(path)
    assert names(tmp_path) == []
    with atomic_write(path) as temporary:
        temporary.write_text("all")
    assert names(tmp_path) == ["areas.csv"]


def test_leftovers_are_temporary_files_of_one_path(tmp_path: Path) -> None:
    for name in ("map.json", ".map.json.123", ".map.json.lock", ".other.json.123"):
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "map.json") as temporary:
        temporary.touch()
        assert sorted(leftovers(tmp_path / "map.json")) == sorted([tmp_path / ".map.json.123", temporary])


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "old").touch()
    with atomic_folder(folder) as new:
        (new / "new").touch()
        assert names(folder) == ["old"]
        with pytest.raises(UserError, match="another process is writing"), atomic_folder(folder):
            pass
    assert names(folder) == ["new"]
    assert names(folder.parent) == ["b"]


def fail(path: Path, error: OSError) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("1000 requested and 500 written"),  # numpy
    ],
)
def test_a_full_disk_names_the_file_and_keeps_the_old_one(tmp_path: Path, error: OSError) -> None:
    path = tmp_path / "last.ckpt"
    path.write_text("good")
    with pytest.raises(WriteError, match=r"last\.ckpt cannot be written .* are free"):
        fail(path, error)
    assert path.read_text() == "good"
    assert names(tmp_path) == ["last.ckpt"]


def test_an_error_about_something_else_is_not_changed(tmp_path: Path) -> None:
    for error in (OSError("cannot identify image file"), FileNotFoundError(errno.ENOENT, "No such file", "rock.jpg")):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - compared below
            fail(tmp_path / "a", error)
        assert caught.value is error


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "areas.csv").mkdir()
    with pytest.raises(WriteError, match=r"areas\.csv cannot be written .*there is a folder of this name"):
        write_text_atomically(tmp_path / "areas.csv", "text")
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"file/areas\.csv cannot be written"):
        write_text_atomically(tmp_path / "file" / "areas.csv", "text")


def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(number: int) -> None:
        done.append("fsync")
        fsync(number)

    def recorded_replace(path: Path, target: Path) -> Path:
        done.append("replace")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    write_text_atomically(tmp_path / "result.json", "{}")
    assert done == ["fsync", "replace", "fsync"]  # of the file, and of the folder


def test_files_have_the_permissions_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text_atomically(tmp_path / "memo.json", "{}")
    finally:
        os.umask(before)
    assert (tmp_path / "memo.json").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "old").touch()

    def fill() -> None:
        with atomic_folder(folder) as new:
            (new / "model.onnx").touch()
            raise OSError(errno.ENOSPC, "No space left on device", str(new / "model.onnx"))

    with pytest.raises(WriteError, match="bundle cannot be written"):
        fill()
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["bundle"]
