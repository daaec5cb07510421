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
