"""The masks of objects, rulers and labels that a data set brings."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.masks import marked_paths
from tests.data.test_datamodule import prepared

SIZE = 60  # pixels
NAMES = ("granite/a", "granite/bcd", "granite/bcdefgh", "tuff/abcde", "tuff/abcdefg", "tuff/abcdefghi")


def save(path: Path, marked: slice | None = None) -> None:
    """An image of noise; or a black one whose columns `marked` are white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (SIZE, SIZE), np.uint8)
    if marked is not None:
        pixels[:] = 0
        pixels[:, marked] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; one picture with a mask and a ruler, one with a label."""
    for name in NAMES:
        save(tmp_path / f"{name}.png")
    save(tmp_path / "masks" / "granite" / "a.png", slice(0, 30))
    save(tmp_path / "regions" / "ruler" / "granite" / "a.png", slice(40, 60))
    save(tmp_path / "regions" / "label" / "tuff" / "abcde.png", slice(0, 12))
    return tmp_path


def listed(folder: Path) -> Path:
    """The same pictures, masks and regions as a CSV."""
    path = folder / "list.csv"
    rows = [
        ("path", "label", "mask", "region_ruler", "region_label"),
        ("granite/a.png", "granite", "masks/granite/a.png", "regions/ruler/granite/a.png", ""),
        ("granite/bcd.png", "granite", "", "missing.png", ""),
        ("tuff/abcde.png", "tuff", "", "", "regions/label/tuff/abcde.png"),
        ("tuff/abcdefg.png", "tuff", "", "", "", "", ""),
        ("granite/bcdefgh.png", "granite"),
        ("tuff/abcdefghi.png", "tuff"),
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(root: Path) -> RockDataModule:
    return prepared(root, resize=30, crop=20)


@pytest.mark.parametrize("as_csv", [False, True])
def test_what_is_marked_is_found_and_is_not_a_class(as_csv: bool, folder: Path) -> None:
    data = read(listed(folder) if as_csv else folder)
    assert data.classes == ("granite", "tuff")
    names = [picture.name for picture in data.index.pictures]
    marked = marked_paths(data.index.root, names)
    assert {kind: set(paths) for kind, paths in marked.items()} == {
        "object": {"granite/a.png"},
        "ruler": {"granite/a.png"},
        "label": {"tuff/abcde.png"},
    }


def test_the_middle_of_a_picture_shows_the_middle_of_its_masks(folder: Path) -> None:
    data = read(folder)
    found = {picture.name: data.centre_masks(number) for number, picture in enumerate(data.index.pictures)}
    marked = {name: set(masks) for name, masks in found.items() if masks}
    assert marked == {"granite/a.png": {"object", "ruler"}, "tuff/abcde.png": {"label"}}
    # 60 columns become 30, of which the view keeps those from 5 to 25.
    columns = {kind: np.flatnonzero(mask.all(axis=0)) for kind, mask in found["granite/a.png"].items()}
    assert (columns["object"].min(), columns["object"].max()) == (0, 9)
    assert (columns["ruler"].min(), columns["ruler"].max()) == (15, 19)
