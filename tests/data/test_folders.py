"""Which pictures a walk finds: those of systems and tools are skipped, and each real folder is read once."""

import logging
import os
from pathlib import Path

import pytest

from fpcn_lightning.data.folders import Skipped, is_system, picture_files, subfolders
from fpcn_lightning.data.images import UnreadableImage, read_file
from fpcn_lightning.data.index import find
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.sources import find_pictures

SYSTEM = (
    *("@eaDir", ".@__thumb", "#recycle", "$RECYCLE.BIN", "System Volume Information", "__MACOSX", "lost+found"),
    *(".thumbnails", ".Trash-1000", ".Trashes", ".ipynb_checkpoints", ".git", ".AppleDouble", ".Spotlight-V100"),
    *("#snapshot", "@Recently-Snapshot"),
)


def made(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


@pytest.fixture
def rocks(tmp_path: Path) -> Path:
    root = tmp_path / "rocks"
    made(root, "granite/a.JPG", "granite/deep/b.jpeg", "tuff/c.Png", "tuff/d.tif")
    return root


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def both(root: Path) -> list[str]:
    """What training lists, after a check that `fpcn predict` finds the same."""
    trained = [file.name for file in find(root)]
    assert names(find_pictures(root), root) == trained
    return trained


def test_thumbnails_and_other_system_files_are_no_data(rocks: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = both(rocks)
    caplog.clear()
    for folder in SYSTEM:
        made(rocks, f"{folder}/x.jpg", f"granite/{folder}/a.JPG/SYNOPHOTO_THUMB_XL.jpg", f"{folder.upper()}/y.jpg")
    made(rocks, "granite/._a.JPG", "granite/Thumbs.db", "granite/.DS_Store", "tuff/SYNOPHOTO_THUMB_M.jpg")
    with caplog.at_level(logging.WARNING):
        assert both(rocks) == expected
    trained, predicted = [record.getMessage() for record in caplog.records]
    upper = len({name.upper() for name in SYSTEM} - set(SYSTEM))  # those that exist in two spellings
    assert f"skipped below {rocks}: {2 * len(SYSTEM) + upper + 2} hidden or system entries" in trained
    assert trained == predicted


@pytest.mark.parametrize("name", ["eaDir", "granite", "recycle", "trash", "masks", "@unsorted", "-other-", "git"])
def test_names_that_a_user_may_choose_are_no_system_names(name: str) -> None:
    assert not is_system(name)


def test_links_to_folders_are_followed_once(rocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made(tmp_path, "elsewhere/e.jpg", "elsewhere/more/f.jpg")
    (rocks / "granite" / "a link").symlink_to(tmp_path / "elsewhere")
    (rocks / "granite" / "a second link").symlink_to(tmp_path / "elsewhere")
    (rocks / "granite" / "all").symlink_to(rocks / "granite" / "deep")
    assert both(rocks) == [
        *("granite/a link/e.jpg", "granite/a link/more/f.jpg", "granite/a.JPG", "granite/deep/b.jpeg"),
        *("tuff/c.Png", "tuff/d.tif"),
    ]
    assert "2 folders that are read elsewhere already (such as granite/a second link)" in caplog.text


def test_a_link_to_what_contains_it_is_no_loop(rocks: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = both(rocks)
    (rocks / "granite" / "up").symlink_to(rocks)
    (rocks / "granite" / "here").symlink_to(".")
    (rocks / "round").symlink_to(rocks)
    (rocks / "itself").symlink_to("itself")
    assert both(rocks) == expected
    assert "3 folders that are read elsewhere already" in caplog.text


def test_a_class_folder_may_be_a_link(rocks: Path, tmp_path: Path) -> None:
    made(tmp_path, "elsewhere/e.jpg")
    (rocks / "gneiss").symlink_to(tmp_path / "elsewhere")
    assert [file.name for file in find(rocks) if file.label == "gneiss"] == ["gneiss/e.jpg"]


def test_links_to_nothing_and_closed_folders_are_counted(rocks: Path) -> None:
    (rocks / "granite" / "gone.jpg").symlink_to("/no/where.jpg")
    (rocks / "granite" / "gone").symlink_to("/no/where")
    os.mkfifo(rocks / "granite" / "pipe.jpg")
    skipped = Skipped()
    assert names(picture_files(rocks, skipped), rocks) == both(rocks)
    assert subfolders(rocks / "absent", skipped) == []
    assert sorted(skipped.counts().items()) == [
        ("folders that cannot be opened", 1),
        ("links, pipes or devices without a file", 2),
    ]


def test_only_the_folder_itself(rocks: Path) -> None:
    assert names(find_pictures(rocks / "granite", recursive=False), rocks) == ["granite/a.JPG"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(UnreadableImage, match="this is a device, pipe or socket, not a file"):
            read_file(path)
        with pytest.raises(UserError, match=f"{path}: this is a device"):
            find_pictures(path)
        with pytest.raises(UserError, match=f"{path} cannot be read: this is a device"):
            SectionFile(path)
