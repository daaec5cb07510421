from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_folder, atomic_write, leftovers


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
