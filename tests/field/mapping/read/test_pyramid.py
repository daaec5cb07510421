from pathlib import Path

import numpy as np
import pytest
import tifffile

from fpcn_lightning.field.mapping.read import pyramid
from fpcn_lightning.field.mapping.read.pyramid import thumbnail
from fpcn_lightning.field.mapping.read.section import SectionFile


def test_each_pixel_is_the_mean_of_a_square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (240, 360, 3), np.uint8)
    tifffile.imwrite(tmp_path / "section.tif", pixels, tile=(64, 64))
    monkeypatch.setattr(pyramid, "_BAND_PIXELS", 10_000)
    with SectionFile(tmp_path / "section.tif") as section:
        small = thumbnail(section, 90)
        assert (thumbnail(section, 1000) == pixels).all()
    means = pixels.reshape(60, 4, 90, 4, 3).mean((1, 3))
    assert small.shape == (60, 90, 3)
    assert np.abs(small - means).max() <= 1


def test_the_smallest_sufficient_picture_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "section.tif") as writer:
        for level, size in enumerate((256, 128, 64)):
            page = np.full((size, size, 3), 50 * level, np.uint8)
            writer.write(page, tile=(64, 64), subifds=None if level else 2, subfiletype=int(level > 0))
    with SectionFile(tmp_path / "section.tif") as section:
        assert (thumbnail(section, 100) == 50).all()


def test_damaged_parts_are_white(tmp_path: Path) -> None:
    path = tmp_path / "section.tif"
    tifffile.imwrite(path, np.zeros((128, 128, 3), np.uint8), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[0]
    with path.open("r+b") as raw:
        raw.seek(offset)
        raw.write(b"\xff" * 8)
    with SectionFile(path) as section:
        small = thumbnail(section, 64)
    assert (small[:32, :32] == 255).all()
    assert not small[32:].any()
