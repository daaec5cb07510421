from pathlib import Path

import pytest

from fpcn_lightning.deploy.one_step import check_free, in_one_step
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME


def bundle(folder: Path, content: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / MANIFEST_NAME).write_text(content)
    return folder


def test_a_bundle_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "a" / "b")
    (folder / "left.over").touch()
    with in_one_step(folder) as place:
        (place / MANIFEST_NAME).write_text("new")
        assert (folder / MANIFEST_NAME).read_text() == "old"
    assert [path.name for path in folder.iterdir()] == [MANIFEST_NAME]
    assert (folder / MANIFEST_NAME).read_text() == "new"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")

    def break_off() -> None:
        with in_one_step(folder) as place:
            (place / MANIFEST_NAME).write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert (folder / MANIFEST_NAME).read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_replacement_that_fails_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rename = bundle(tmp_path / "b"), Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(UserError, match=r"export\.bundle=.* cannot be made"), in_one_step(folder) as place:
        (place / MANIFEST_NAME).write_text("new")
    assert (folder / MANIFEST_NAME).read_text() == "old"


def test_what_a_killed_process_left_is_tidied_up(tmp_path: Path) -> None:
    bundle(tmp_path / ".b.new", "half")
    bundle(tmp_path / ".b.old", "good")
    with in_one_step(tmp_path / "b") as place:
        assert (tmp_path / "b" / MANIFEST_NAME).read_text() == "good"
        assert not list(place.iterdir())
        (place / MANIFEST_NAME).write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_two_processes_do_not_fill_one_bundle(tmp_path: Path) -> None:
    with in_one_step(tmp_path / "b") as place:
        (place / MANIFEST_NAME).write_text("first")
        with pytest.raises(UserError, match="another process is exporting"), in_one_step(tmp_path / "b"):
            pass
    assert (tmp_path / "b" / MANIFEST_NAME).read_text() == "first"


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    check_free(photographs, overwrite=False)  # empty
    check_free(tmp_path / "absent", overwrite=False)
    (photographs / "rock.jpg").touch()
    file = tmp_path / "file"
    file.touch()
    for path in (photographs, file):
        with pytest.raises(UserError, match="exists and is no bundle"):
            check_free(path, overwrite=True)


def test_a_bundle_is_replaced_on_demand_only(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")
    with pytest.raises(UserError, match="holds a bundle: replace it with overwrite=true"):
        check_free(folder, overwrite=False)
    check_free(folder, overwrite=True)
