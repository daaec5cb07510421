"""What has changed since a run is found without decoding an image."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fpcn_lightning.config import CacheConfig, DataConfig, SplitConfig
from fpcn_lightning.data.changes import changes
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.images import ImageReader

Change = Callable[[Path], object]


def config(root: Path, *, cache: bool = True, file: Path | None = None) -> DataConfig:
    split = SplitConfig(file=None if file is None else str(file))
    return DataConfig(root=str(root), resize=72, crop=64, cache=CacheConfig(enabled=cache), split=split)


@pytest.fixture
def photographs(rocks: Path, tmp_path: Path) -> Path:
    shutil.copytree(rocks.parent / "images", tmp_path / "photographs")
    return tmp_path / "photographs"


@pytest.fixture
def run_folder(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run on the photographs; from now on nothing may be decoded."""
    (photographs / "granular" / "broken.jpg").write_bytes(b"no image")
    data = RockDataModule(config(photographs), seed=0)
    data.prepare_data()
    folder = tmp_path / "run"
    folder.mkdir()
    data.write_record(folder)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageReader, "read", forbidden)
    return folder


@pytest.mark.parametrize("cache", [True, False])
def test_nothing_has_changed(photographs: Path, run_folder: Path, cache: bool) -> None:
    assert changes(config(photographs, cache=cache), run_folder) == []
    (photographs / "granular" / "0000.jpg").touch()  # another time alone is no change
    assert changes(config(photographs, cache=cache), run_folder) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda root: shutil.copy(root / "granular/0000.jpg", root / "granular/new.jpg"),
            "1 image was added (granular/new.jpg)",
        ),
        (lambda root: shutil.rmtree(root / "veined"), "10 images were removed (veined/"),
        (lambda root: (root / "granular/broken.jpg").unlink(), "1 image was removed (granular/broken.jpg)"),
        (
            lambda root: (root / "granular/0000.jpg").write_bytes((root / "granular/0001.jpg").read_bytes()),
            "1 image was changed (granular/0000.jpg)",
        ),
    ],
)
def test_a_change_is_named(photographs: Path, run_folder: Path, change: Change, words: str) -> None:
    change(photographs)
    found = changes(config(photographs), run_folder)
    assert len(found) == 1
    assert words in found[0]


def test_a_corrected_label_is_named(rocks: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    lines = [f"{path},{path.parent.name}" for path in sorted((rocks.parent / "images").rglob("*.jpg"))]
    listed.write_text("\n".join(["path,label", *lines]))
    data = RockDataModule(config(listed), seed=0)
    data.prepare_data()
    data.write_record(tmp_path)
    assert changes(config(listed), tmp_path) == []
    listed.write_text("\n".join(["path,label", *lines[:-1], lines[-1].replace(",vesicular", ",veined")]))
    assert [each.split(" (")[0] for each in changes(config(listed), tmp_path)] == ["1 image was given another label"]
    listed.write_text(
        "\n".join(["path,label,group", *(f"{line},{'s' * (number < 2)}" for number, line in enumerate(lines))])
    )
    assert [each.split(" (")[0] for each in changes(config(listed), tmp_path)] == ["2 images were given another group"]


def test_an_edited_split_file_is_named(photographs: Path, run_folder: Path, tmp_path: Path) -> None:
    edited = tmp_path / "split.csv"
    edited.write_text((run_folder / "split.csv").read_text())
    assert changes(config(photographs, file=edited), run_folder) == []
    edited.write_text(edited.read_text().replace(",val,", ",test,", 1))
    (found,) = changes(config(photographs, file=edited), run_folder)
    assert found.startswith("1 image was put into another split")
