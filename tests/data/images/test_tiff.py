"""TIFF: colours in separate pages, missing samples, and pieces that were lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fpcn_lightning.data.images import UnreadableImage, open_image, to_eight_bits
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.read.section import SectionFile
from tests.data.images.mutations import photograph

ROCK = photograph()
PLANES = np.ascontiguousarray(ROCK.transpose(2, 0, 1))
LOWEST = float(np.finfo(np.float32).min)
GDAL_NODATA = 42113

SEPARATE: dict[str, dict[str, Any]] = {
    "OME": {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CYX"}},
    "ImageJ": {"imagej": True, "metadata": {"axes": "CYX", "mode": "composite"}},
    "pages": {"photometric": "minisblack"},
    "planes": {"photometric": "minisblack", "planarconfig": "separate"},
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", SEPARATE)
def test_colours_in_separate_pictures_are_refused_by_all_readers(tmp_path: Path, kind: str, bits: int) -> None:
    """Otherwise green malachite and blue azurite would be the same grey."""
    planes = PLANES if bits == 8 else PLANES.astype(np.uint16) * 257
    path = tmp_path / "colours.tif"
    tifffile.imwrite(path, planes, **SEPARATE[kind])
    with pytest.raises(UnreadableImage, match="stores its colours in separate pictures: save it as RGB"):
        open_image(path)
    with pytest.raises(UserError, match="stores its colours in separate pictures: save it as RGB"):
        SectionFile(path)


@pytest.mark.parametrize("options", [{"ome": True}, {"imagej": True}, {"planarconfig": "contig"}, {"bigtiff": True}])
def test_colours_in_one_picture_are_read(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "rock.tif"
    tifffile.imwrite(path, ROCK, photometric="rgb", **options)
    assert np.array_equal(open_image(path), ROCK)


def test_a_smaller_copy_before_the_picture_is_refused_and_one_behind_is_not(tmp_path: Path) -> None:
    pages = [(ROCK, 0), (ROCK[::2, ::2], 1)]
    for name, order in (("behind.tif", pages), ("before.tif", pages[::-1])):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            for pixels, kind in order:
                writer.write(pixels, photometric="rgb", subfiletype=kind)
    assert np.array_equal(open_image(tmp_path / "behind.tif"), ROCK)
    with pytest.raises(UnreadableImage, match="begins with a smaller copy"):
        open_image(tmp_path / "before.tif")


@pytest.mark.parametrize("missing", [LOWEST, -LOWEST, np.nan, np.inf, -np.inf])
def test_missing_samples_of_floats_do_not_count(tmp_path: Path, missing: float) -> None:
    known = ROCK[..., 0].astype(np.float32) * 10 + 500
    samples = known.copy()
    samples[:30] = missing
    path = tmp_path / "heights.tif"
    tifffile.imwrite(path, samples, photometric="minisblack")
    pixels = open_image(path)[..., 0]
    assert np.array_equal(pixels[30:], to_eight_bits(known[30:]))
    assert (pixels[:30] == 0).all()


@pytest.mark.parametrize(("dtype", "missing"), [(np.float32, "-9999"), (np.int16, "-32768"), (np.uint16, "65535")])
def test_the_number_that_gdal_marks_as_no_data_does_not_count(tmp_path: Path, dtype: Any, missing: str) -> None:
    known = ROCK[..., 0].astype(dtype) + dtype(3)
    samples = known.copy()
    samples[:30] = dtype(missing)
    path = tmp_path / "heights.tif"
    tags = [(GDAL_NODATA, "s", 0, missing, True)]
    tifffile.imwrite(path, samples, photometric="minisblack", extratags=tags)
    if dtype is np.uint16:  # tifffile reads what Pillow could read as well
        tifffile.imwrite(path, np.stack([samples] * 3, -1), photometric="rgb", extratags=tags)
    assert np.array_equal(open_image(path)[30:, :, 0], to_eight_bits(known[30:]))


def test_a_picture_without_any_sample_is_refused() -> None:
    with pytest.raises(UnreadableImage, match="all samples are missing"):
        to_eight_bits(np.full((4, 4), LOWEST, np.float32))


def test_large_images_are_scaled_as_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).normal(0, 1000, (37, 11, 3))
    samples[3:5] = np.nan
    whole = to_eight_bits(samples)
    monkeypatch.setattr("fpcn_lightning.data.images.scaling._BLOCK", 50)
    assert np.array_equal(to_eight_bits(samples), whole)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_strip_without_bytes_is_refused(tmp_path: Path, dtype: Any, compression: str | None) -> None:
    path = tmp_path / "rock.tif"
    tifffile.imwrite(path, ROCK.astype(dtype), photometric="rgb", rowsperstrip=16, compression=compression)
    with tifffile.TiffFile(path, mode="r+") as opened:
        counts = list(opened.pages.first.databytecounts)
        opened.pages.first.tags["StripByteCounts"].overwrite([*counts[:-1], 0])
    with pytest.raises(UnreadableImage, match="damaged"):
        open_image(path)
