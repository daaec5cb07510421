"""Folders named after splits are used as the published split, or refused where that is not clear."""

import logging
import shutil
from pathlib import Path

import pytest

from fpcn_lightning.data.layout import published_folders, split_of_folder
from fpcn_lightning.errors import UserError
from tests.data.test_datamodule import folder_of_rocks, names_in, of_a_checkpoint, prepared

SIZES = {"basalt": 4, "granite": 3}


def split_folders(root: Path, folders: dict[str, dict[str, int]]) -> Path:
    """Folders of class folders with so many pictures; no picture is a copy of another."""
    for folder, sizes in folders.items():
        folder_of_rocks(root / folder, sizes)
        for path in sorted((root / folder).rglob("*.png")):
            path.write_bytes(path.read_bytes() + folder.encode())
    return root


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train", "train"), ("Training_Set", "train"), ("TRAIN", "train"), ("training images", "train")),
        *(("val", "val"), ("valid", "val"), ("Validation", "val"), ("val-set", "val")),
        *(("test", "test"), ("testing", "test"), ("Testing_Set", "test"), (" TestSet", "test"), ("test_data", "test")),
        *(("trained", None), ("granite", None), ("contest", None), ("set", None), ("training wheels", None)),
    ],
)
def test_the_split_that_a_folder_means(name: str, split: str | None) -> None:
    assert split_of_folder(name) == split


def test_train_val_and_test_are_the_published_split(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = split_folders(tmp_path / "data", dict.fromkeys(("train", "valid", "Testing_Set"), SIZES))
    with caplog.at_level(logging.INFO):
        data = prepared(root)
    assert data.classes == ("basalt", "granite")
    assert data.published == {"train": "train", "val": "valid", "test": "Testing_Set"}
    for split, folder in data.published.items():
        assert {name.partition("/")[0] for name in names_in(data, split)} == {folder}
    (remark,) = [record.getMessage() for record in caplog.records if "published split" in record.getMessage()]
    assert "train from train, val from valid, test from Testing_Set" in remark


@pytest.mark.parametrize("empty", [False, True])
def test_without_val_it_is_taken_from_train(tmp_path: Path, empty: bool) -> None:
    root = split_folders(
        tmp_path / "data", {folder: {"basalt": size, "granite": size} for folder, size in (("Train", 20), ("Test", 5))}
    )
    if empty:
        (root / "val").mkdir()
    data = prepared(root)
    assert data.published == {"train": "Train", "test": "Test"}
    assert len(data.split.test) == 10
    assert data.split.val
    assert {name.partition("/")[0] for name in names_in(data, "val")} == {"Train"}


def test_class_names_are_compared_across_published_folders(tmp_path: Path) -> None:
    written = {"train": "Granite", "val": "GRANITE", "test": "granite "}
    root = split_folders(tmp_path / "data", {folder: {label: 3, "basalt": 3} for folder, label in written.items()})
    data = prepared(root)
    assert len(data.classes) == 2
    assert [len(positions) for positions in (data.split.train, data.split.val, data.split.test)] == [6, 6, 6]


def test_a_checkpoint_is_tested_on_all_of_them(tmp_path: Path) -> None:
    root = split_folders(tmp_path / "data", dict.fromkeys(("train", "test"), SIZES))
    data = of_a_checkpoint(root, ("granite", "basalt"), only_test=True)
    assert len(data.split.test) == 14


def test_one_folder_named_after_a_split_is_a_class(tmp_path: Path) -> None:
    folder_of_rocks(tmp_path / "data", {"test": 6, "granite": 6, "basalt": 6})
    assert published_folders(tmp_path / "data") == {}
    assert prepared(tmp_path / "data").classes == ("basalt", "granite", "test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("direct", "test holds pictures directly"),
        ("other", "there is also extra"),
        ("twice", "val and validation both mean val|validation and val both mean val"),
        ("no train", "none of them that holds class folders is for training"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path: Path, change: str, message: str) -> None:
    root = tmp_path / "data"
    for folder in ("train", "val", "test"):
        folder_of_rocks(root / folder, SIZES)
    match change:
        case "direct":
            folder_of_rocks(root, {"test": 2})
        case "other":
            folder_of_rocks(root, {"extra": 2})
        case "twice":
            folder_of_rocks(root / "validation", SIZES)
        case "no train":
            shutil.rmtree(root / "train")
    with pytest.raises(UserError, match=message) as error:
        prepared(root)
    assert "set data.split.published.train=FOLDER" in str(error.value)


def test_masks_and_system_folders_beside_them_do_not_matter(tmp_path: Path) -> None:
    for folder in ("train", "test", "masks", "@eaDir", ".git"):
        folder_of_rocks(tmp_path / folder, SIZES)
    (tmp_path / "docs").mkdir()
    assert published_folders(tmp_path) == {"train": "train", "test": "test"}
