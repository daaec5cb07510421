from pathlib import Path

import pytest

from fpcn_lightning.deploy.bundle_folder import check_replaceable, new_bundle_folder
from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.field.manifest import MANIFEST_NAME


def bundle(folder: Path, content: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / MANIFEST_NAME).write_text(content)
    return folder


def test_a_bundle_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "a" / "b")
    (folder / "left.over").touch()
    with new_bundle_folder(folder) as new:
        (new / MANIFEST_NAME).write_text("new")
        assert (folder / MANIFEST_NAME).read_text() == "old"
    assert [path.name for path in folder.iterdir()] == [MANIFEST_NAME]
    assert (folder / MANIFEST_NAME).read_text() == "new"
    assert list(folder.parent.iterdir()) == [folder]


def test_a_failure_leaves_the_old_bundle(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")

    def fail() -> None:
        with new_bundle_folder(folder) as new:
            (new / MANIFEST_NAME).write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (folder / MANIFEST_NAME).read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_replacement_that_fails_restores_the_old_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rename = bundle(tmp_path / "b"), Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path.name.endswith(".new"):
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fails)
    with (
        pytest.raises(WriteError, match=r"b cannot be written \(permission denied\)"),
        new_bundle_folder(folder) as new,
    ):
        (new / MANIFEST_NAME).write_text("new")
    assert (folder / MANIFEST_NAME).read_text() == "old"


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    bundle(tmp_path / ".b.new", "half")
    bundle(tmp_path / ".b.old", "good")
    with new_bundle_folder(tmp_path / "b") as new:
        assert (tmp_path / "b" / MANIFEST_NAME).read_text() == "good"
        assert not list(new.iterdir())
        (new / MANIFEST_NAME).write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_two_processes_do_not_write_one_bundle(tmp_path: Path) -> None:
    with new_bundle_folder(tmp_path / "b") as new:
        (new / MANIFEST_NAME).write_text("first")
        with pytest.raises(UserError, match="another process is writing"), new_bundle_folder(tmp_path / "b"):
            pass
    assert (tmp_path / "b" / MANIFEST_NAME).read_text() == "first"


def test_other_things_than_bundles_are_never_replaced(tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    check_replaceable(photographs, overwrite=False)  # empty
    check_replaceable(tmp_path / "absent", overwrite=False)
    (photographs / "rock.jpg").touch()
    file = tmp_path / "file"
    file.touch()
    for path in (photographs, file):
        with pytest.raises(UserError, match="exists and is no bundle"):
            check_replaceable(path, overwrite=True)


def test_a_bundle_is_replaced_only_with_overwrite(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")
    with pytest.raises(UserError, match="already contains a bundle: replace it with overwrite=true"):
        check_replaceable(folder, overwrite=False)
    check_replaceable(folder, overwrite=True)
