"""Which pictures a file, a folder and a list have."""

import os
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.sources import find_pictures

NAMES = ["b.JPG", "a b.jpeg", "Größe/玄武岩.png", "deep/er/c.tif"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*NAMES, "notes.txt", ".hidden.jpg", ".cache/d.jpg", "deep/.trash/e.jpg"):
        path = tmp_path / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "photographs"


def test_a_folder_is_searched_at_every_depth(folder: Path) -> None:
    assert find_pictures(folder) == sorted(folder / name for name in NAMES)
    assert find_pictures(folder, recursive=False) == [folder / "a b.jpeg", folder / "b.JPG"]


def test_circular_links_and_pipes_are_skipped(folder: Path) -> None:
    (folder / "deep" / "round").symlink_to(folder)
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert find_pictures(folder) == sorted(folder / name for name in NAMES)


def test_a_list_is_relative_to_itself(tmp_path: Path) -> None:
    text = "\ufeffid,Path\r\n1,z.jpg\r\n2,sub/ä b.jpg\r\n3,/other/c.jpg\r\n4,z.jpg\r\n5,\r\n6\r\n"
    (tmp_path / "list.csv").write_text(text, encoding="utf-8", newline="")
    expected = [tmp_path / "z.jpg", tmp_path / "sub" / "ä b.jpg", Path("/other/c.jpg")]
    assert find_pictures(tmp_path / "list.csv") == expected


def test_a_list_may_use_semicolons(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('nummer;path\n1;"a;b.jpg"\n', encoding="utf-8")
    assert find_pictures(tmp_path / "list.csv") == [tmp_path / "a;b.jpg"]
    (tmp_path / "list.csv").write_text("path\nx;y.png\n", encoding="utf-8")
    assert find_pictures(tmp_path / "list.csv") == [tmp_path / "x;y.png"]


def test_a_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(b"")
    assert find_pictures(tmp_path / "scan") == [tmp_path / "scan"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks the column path"),
        (b"file\na.jpg\n", "lacks the column path"),
        (b"path\nGr\xf6\xdfe.jpg\n", "UTF-8"),
        (b"path\n", "names no picture"),
    ],
    ids=["empty", "another column", "another encoding", "no line"],
)
def test_lists_that_cannot_be_used(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        find_pictures(tmp_path / "list.csv")


def test_sources_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no pictures"):
        find_pictures(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        find_pictures(tmp_path / "nowhere")
