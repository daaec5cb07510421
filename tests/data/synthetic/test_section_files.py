import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from fpcn_lightning.data.synthetic.section_files import write_section
from fpcn_lightning.data.synthetic.sections import CLASSES, paint
from fpcn_lightning.errors import UserError


@pytest.mark.parametrize("bits", [8, 16])
def test_a_file_holds_what_is_painted(tmp_path: Path, bits: int) -> None:
    path, truth = tmp_path / "section.tif", tmp_path / "classes.tif"
    areas = write_section(path, 300, 421, seed=7, bits=bits, tile=128, truth=truth, micrometres_per_pixel=1.25)
    pixels, classes = paint(0, 0, 300, 421, seed=7, bits=bits)
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), pixels)
        page = file.pages.first
        assert page.tile == (128, 128)
        assert page.tags["XResolution"].value == (8000, 1)
        assert page.tags["ResolutionUnit"].value.name == "CENTIMETER"
    np.testing.assert_array_equal(tifffile.imread(truth), classes)
    assert list(areas) == list(CLASSES)
    assert list(areas.values()) == np.bincount(classes.ravel(), minlength=len(CLASSES)).tolist()
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["areas"] == areas
    assert (record["height"], record["width"], record["seed"]) == (300, 421, 7)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["classes.tif", "section.json", "section.tif"]


def test_reduced_images_are_means_of_the_large_one(tmp_path: Path) -> None:
    path = tmp_path / "section.tif"
    write_section(path, 300, 422, seed=7, tile=64, levels=2, compression=None)
    picture = Image.fromarray(paint(0, 0, 300, 424, seed=7)[0])
    with tifffile.TiffFile(path) as file:
        levels = [level.asarray() for level in file.series[0].levels]
    assert [level.shape for level in levels] == [(300, 422, 3), (150, 211, 3), (75, 106, 3)]
    for number, level in enumerate(levels[1:], start=1):
        expected = np.asarray(picture.reduce(2**number))[:, : level.shape[1]]
        assert np.abs(level.astype(int) - expected).max() <= number


@pytest.mark.parametrize(("tile", "levels"), [(100, 0), (0, 0), (16, 5)])
def test_invalid_tiles_are_refused(tmp_path: Path, tile: int, levels: int) -> None:
    with pytest.raises(UserError, match=f"tile={tile}"):
        write_section(tmp_path / "section.tif", 64, 64, seed=0, tile=tile, levels=levels)
    assert not list(tmp_path.iterdir())
