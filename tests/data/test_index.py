"""Which files are listed, which are refused and why, and what a second scan does not do again."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import ImageReader, UnreadableImage, read_resized
from fpcn_lightning.data.index import Index, find
from fpcn_lightning.data.scan import scan, write_refused
from fpcn_lightning.errors import UserError

PHOTOGRAPHS = os.environ.get("FPCN_PHOTOGRAPHS")  # a folder of class folders with photographs of seven rocks


def picture(path: Path, shade: int, size: tuple[int, int] = (12, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 100, 50)).save(path, format="PNG")
    return path


@pytest.fixture
def rocks(tmp_path: Path) -> Path:
    """Basalt 3 (one of them in a deeper folder), granite 2, and files that are ignored."""
    root = tmp_path / "rocks"
    for shade, name in enumerate(
        ("basalt/b.JPG", "basalt/a.png", "basalt/deep/er/c.webp", "granite/a.png", "granite/d.jpeg")
    ):
        picture(root / name, shade)
    for name in ("basalt/notes.txt", "basalt/.hidden.png", "granite/.trash/e.png", ".git/f.png", "readme.png"):
        picture(root / name, 200)
    (root / "granite" / "folder.jpg").mkdir()
    return root


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding=encoding)
    return path


def names(index: Index) -> list[str]:
    return [picture.name for picture in index.pictures]


def forbidden(*_: object) -> Any:
    raise AssertionError("a picture was decoded again")


def test_class_folders(rocks: Path) -> None:
    found = find(rocks)
    expected = ["basalt/a.png", "basalt/b.JPG", "basalt/deep/er/c.webp", "granite/a.png", "granite/d.jpeg"]
    assert [file.name for file in found] == expected
    assert [file.label for file in found] == ["basalt"] * 3 + ["granite"] * 2
    for file in found:
        assert file.path == rocks / file.name
        assert (file.size, file.mtime_ns) == (file.path.stat().st_size, file.path.stat().st_mtime_ns)
        assert file.group is None
        assert file.published is None


def test_a_relative_root_gives_absolute_paths(rocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rocks.parent)
    assert find(Path("rocks")) == find(rocks)
    assert scan(find(Path("rocks")), Path("rocks")) == scan(find(rocks), rocks)


def test_scan_reads_what_is_there(rocks: Path) -> None:
    index = scan(find(rocks), rocks)
    assert index.root == rocks
    assert index.classes == ("basalt", "granite")
    assert names(index) == sorted(names(index))
    assert index.refused == ()
    for item in index.pictures:
        assert item.digest == hashlib.sha1(item.path.read_bytes()).hexdigest()
        assert (item.width, item.height) == (12, 8)


def test_the_size_is_that_of_the_upright_picture(rocks: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (1200, 800)).save(rocks / "basalt" / "turned.jpg", exif=exif)
    index = scan(find(rocks), rocks, shape=(16, 16))
    turned = index.pictures[names(index).index("basalt/turned.jpg")]
    assert (turned.width, turned.height) == (800, 1200)


def test_published_folders(rocks: Path) -> None:
    for folder in ("Training_Set", "Testing_Set", "Elsewhere"):
        shutil.copytree(rocks, rocks.parent / "all" / folder)
    found = find(rocks.parent / "all", {"train": "Training_Set", "test": "Testing_Set"})
    assert len(found) == 10
    for file in found:
        assert file.published == {"Training_Set": "train", "Testing_Set": "test"}[Path(file.name).parts[0]]
        assert file.label == Path(file.name).parts[1]
    with pytest.raises(UserError, match=r"Exam does not exist"):
        find(rocks.parent / "all", {"test": "Exam"})


def test_a_csv_with_groups_and_splits(rocks: Path) -> None:
    lines = [
        "path, label, group, split",
        "basalt/b.JPG,basalt,quarry 1,train",
        f"{rocks / 'basalt' / 'a.png'},basalt,,val",
        "./granite/a.png,granite,quarry 2,Test",
        "granite/d.jpeg,granite",
        "granite/d.jpeg,granite,,",
        "granite/gone.png,granite",
    ]
    found = find(written(rocks / "rocks.csv", "\n".join(lines), encoding="utf-8-sig"))
    assert [(file.name, file.label, file.group, file.published) for file in found] == [
        ("basalt/a.png", "basalt", None, "val"),
        ("basalt/b.JPG", "basalt", "quarry 1", "train"),
        ("granite/a.png", "granite", "quarry 2", "test"),
        ("granite/d.jpeg", "granite", None, None),
        ("granite/gone.png", "granite", None, None),
    ]
    index = scan(found, rocks / "rocks.csv", max_unreadable_share=0.5)
    assert [(item.name, item.reason) for item in index.refused] == [("granite/gone.png", "there is no such file")]
    assert names(index) == ["basalt/a.png", "basalt/b.JPG", "granite/a.png", "granite/d.jpeg"]


@pytest.mark.parametrize(
    ("word", "split"),
    [("train", "train"), ("val", "val"), ("Validation", "val"), ("VALID", "val"), ("Test", "test"), (" ", None)],
)
def test_the_words_for_splits(rocks: Path, word: str, split: str | None) -> None:
    lines = ["path,label,split", f"basalt/a.png,basalt,{word}", f"granite/a.png,granite,{word}"]
    found = find(written(rocks / "rocks.csv", "\n".join(lines)))
    assert [file.published for file in found] == [split, split]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the list lacks the column path and label"),
        ("file,label\na.png,x", "line 1: the list lacks the column path:"),
        ("path,label", "no class"),
        ("path,label\na.png,", "line 2 has the path"),
        ("path,label\n,,\na.png,x\n./a.png,y", r"line 4 lists ./a.png again, .* than .*line 3"),
        ("path,label,split\na.png,x,exam\nb.png,y,train", "line 2 puts a.png into the split 'exam'"),
        ("path,label\na.png,x\nb.png,=y", "line 3: the class name '=y' begins with ="),
        ("path,label\na.png,x\nb.png,x", "pictures of x only"),
    ],
)
def test_an_invalid_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        find(written(tmp_path / "rocks.csv", text))
    assert str(tmp_path / "rocks.csv") in str(error.value)


def test_a_csv_in_another_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="UTF-8"):
        find(written(tmp_path / "rocks.csv", "path,label\nä.png,x", encoding="cp1252"))


def test_roots_without_a_data_set(rocks: Path) -> None:
    empty = rocks.parent / "empty"
    empty.mkdir()
    for root, message in {
        rocks / "absent": "does not exist: pass a folder",
        rocks / "readme.png": "neither a folder nor",
        empty: "holds no class folders",
        rocks / "basalt" / "deep" / "er": "holds no class folders",
        rocks / "basalt": "pictures of deep only",
    }.items():
        with pytest.raises(UserError, match=message) as error:
            find(root)
        assert str(root) in str(error.value)


def test_unreadable_files_are_refused_up_to_a_share(
    rocks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(rocks / "basalt" / "text.jpg", "a shopping list")
    found = find(rocks)
    index = scan(found, rocks, max_unreadable_share=1 / 6)
    assert "1 of 6 files" in caplog.text
    assert "are not used: basalt/text.jpg" in caplog.text
    assert [(item.name, item.label) for item in index.refused] == [("basalt/text.jpg", "basalt")]
    assert "basalt/text.jpg" not in names(index)
    with pytest.raises(UserError, match=r"1 of 6 files \(16\.7%\).*basalt/text\.jpg.*data\.max_unreadable_share"):
        scan(found, rocks, max_unreadable_share=0.16)
    write_refused(index, tmp_path / "refused.csv")
    with (tmp_path / "refused.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["name", "label", "reason"], ["basalt/text.jpg", "basalt", index.refused[0].reason]]


def test_one_picture_under_two_labels(rocks: Path) -> None:
    for copy in ("granite/copy.png", "basalt/copy.png"):
        shutil.copy(rocks / "basalt" / "a.png", rocks / copy)
    index = scan(find(rocks), rocks, max_unreadable_share=0)
    assert {item.name: item.reason for item in index.refused} == {
        "basalt/a.png": "the same picture is also under granite",
        "basalt/copy.png": "the same picture is also under granite",
        "granite/copy.png": "the same picture is also under basalt",
    }
    assert names(index) == ["basalt/b.JPG", "basalt/deep/er/c.webp", "granite/a.png", "granite/d.jpeg"]
    kept = scan(find(rocks), rocks, conflicting_labels="keep")
    assert len(kept.pictures) == 7
    assert kept.refused == ()


def test_a_class_whose_pictures_are_all_refused(rocks: Path) -> None:
    shutil.rmtree(rocks / "granite")
    shutil.copytree(rocks / "basalt", rocks / "gabbro")
    with pytest.raises(UserError, match="0 class"):
        scan(find(rocks), rocks)


def test_pixels_are_passed_on_once_each(rocks: Path) -> None:
    written(rocks / "granite" / "text.jpg", "a shopping list")
    found = find(rocks)
    seen: list[tuple[int, NDArray[np.uint8]]] = []
    scan(found, rocks, shape=(10, 10), on_pixels=lambda *item: seen.append(item), max_unreadable_share=1)
    assert sorted(position for position, _ in seen) == [0, 1, 2, 3, 4]
    assert found[5].name == "granite/text.jpg"
    for position, pixels in seen:
        assert np.array_equal(pixels, read_resized(found[position].path, (10, 10)))


@pytest.mark.parametrize("threads", [1, 4])
def test_the_number_of_threads_and_the_order_change_nothing(
    rocks: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    for number in range(40):
        picture(rocks / "granite" / f"{number}.png", 10 + number, (number + 1, 5))
    expected = scan(find(rocks), rocks)
    monkeypatch.setattr("fpcn_lightning.data.scan.usable_cores", lambda: threads)
    assert scan(find(rocks)[::-1], rocks) == expected


def test_a_second_scan_decodes_nothing(rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = tmp_path / "cache" / "memo.json"
    first = scan(find(rocks), rocks, memo=memo)
    assert [path.name for path in memo.parent.iterdir()] == ["memo.json"]
    monkeypatch.setattr(ImageReader, "read", forbidden)
    assert scan(find(rocks), rocks, memo=memo, shape=(8, 8), on_pixels=forbidden) == first


def test_only_what_changed_is_decoded_again(rocks: Path, tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    scan(find(rocks), rocks, memo=memo)
    picture(rocks / "basalt" / "a.png", 77, (30, 20))
    picture(rocks / "granite" / "new.png", 78)
    os.utime(rocks / "basalt" / "b.JPG", ns=(1, 1))
    (rocks / "granite" / "d.jpeg").unlink()
    found, seen = find(rocks), set()
    index = scan(found, rocks, memo=memo, shape=(8, 8), on_pixels=lambda position, _: seen.add(found[position].name))
    assert seen == {"basalt/a.png", "basalt/b.JPG", "granite/new.png"}
    assert index == scan(find(rocks), rocks)


def without_codec(*_: object) -> Any:
    raise UnreadableImage("no codec")


def test_a_refused_file_is_tried_again(rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = tmp_path / "memo.json"
    with monkeypatch.context() as patched:
        patched.setattr(ImageReader, "read", without_codec)
        with pytest.raises(UserError, match="no codec"):
            scan(find(rocks), rocks, memo=memo)
    assert len(scan(find(rocks), rocks, memo=memo).pictures) == 5


@pytest.mark.parametrize(
    "damaged",
    ["", "[]", '{"schema": 1', '{"schema": 1}', '{"schema": 1, "files": [1, 2]}', '{"schema": 1, "files": 3}'],
)
def test_a_damaged_memo_is_replaced(rocks: Path, tmp_path: Path, damaged: str) -> None:
    memo = tmp_path / "memo.json"
    expected = scan(find(rocks), rocks, memo=memo)
    whole = memo.read_text()
    memo.write_text(damaged)
    assert scan(find(rocks), rocks, memo=memo) == expected
    assert memo.read_text() == whole


def test_a_memo_of_another_schema_is_not_used(rocks: Path, tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    expected = scan(find(rocks), rocks, memo=memo)
    old = {"schema": 0, "files": [[*row[:3], "digest of old", 1, 1] for row in json.loads(memo.read_text())["files"]]}
    memo.write_text(json.dumps(old))
    assert scan(find(rocks), rocks, memo=memo) == expected


@pytest.mark.skipif(PHOTOGRAPHS is None, reason="FPCN_PHOTOGRAPHS names no folder of photographs")
def test_real_photographs() -> None:
    photographs = Path(str(PHOTOGRAPHS))
    found = find(photographs)
    index = scan(found, photographs, shape=(64, 64))
    digests: dict[str, set[str]] = {}
    for file in found:
        digests.setdefault(hashlib.sha1(file.path.read_bytes()).hexdigest(), set()).add(file.label)
    conflicting = [labels for labels in digests.values() if len(labels) > 1]
    assert len(found) == 2081
    assert len(conflicting) == 9
    assert all("the same picture" in item.reason for item in index.refused)
    assert len(index.pictures) + len(index.refused) == 2081
    assert not {hashlib.sha1((photographs / item.name).read_bytes()).hexdigest() for item in index.refused} & {
        item.digest for item in index.pictures
    }
    assert index.classes == ("Basalt", "Coal", "Granite", "Limestone", "Marble", "Quartzite", "Sandstone")
