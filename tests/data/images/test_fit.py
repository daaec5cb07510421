"""How images become squares: as Pillow's own functions do it, and where each place of an image lands."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fpcn_lightning.data.images import Area, ImageReader, SquareFit, read_resized
from fpcn_lightning.data.images.tiff import ORIENTATION

SIDE = 32
FILL = (10, 200, 90)
How = Literal["squash", "crop", "letterbox"]
FITS = [SquareFit(SIDE, how, FILL) for how in ("squash", "crop", "letterbox")]
SIZES = [(96, 64), (64, 96), (20, 32), (50, 50), (300, 40)]  # width and height


def noise(path: Path, size: tuple[int, int]) -> Path:
    pixels = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def by_pillow(path: Path, fit: SquareFit) -> NDArray[np.uint8]:
    """The reference, for files that are not reduced while they are decoded."""
    with Image.open(path) as image:
        size, bilinear = (fit.side, fit.side), Image.Resampling.BILINEAR
        if fit.how == "squash":
            return np.asarray(image.resize(size, bilinear))
        if fit.how == "crop":
            return np.asarray(ImageOps.fit(image, size, bilinear))
        return np.asarray(ImageOps.pad(image, size, bilinear, fit.fill))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.how)
def test_the_pixels_are_those_of_pillow(tmp_path: Path, fit: SquareFit, size: tuple[int, int]) -> None:
    path = noise(tmp_path / "image.png", size)
    found = read_resized(path, fit)
    assert found.shape == (SIDE, SIDE, 3)
    np.testing.assert_array_equal(found, by_pillow(path, fit))
    with ImageReader() as reader:  # in another process
        decoded = reader.read(path, fit)
    np.testing.assert_array_equal(decoded.pixels, found)
    assert (decoded.width, decoded.height) == size


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (1, 1)], ids=str)
@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.how)
def test_a_line_of_pixels_becomes_a_square(tmp_path: Path, fit: SquareFit, size: tuple[int, int]) -> None:
    assert read_resized(noise(tmp_path / "line.png", size), fit).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.how)
def test_a_large_jpeg_that_lies_on_its_side_shows_the_same(tmp_path: Path, fit: SquareFit) -> None:
    """It is decoded at a part of its size, before its orientation is known."""
    small = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)
    upright = Image.fromarray(small).resize((900, 600), Image.Resampling.BICUBIC)
    upright.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", quality=98, subsampling=0, exif=exif)
    found = read_resized(tmp_path / "turned.jpg", fit).astype(int)
    assert np.abs(found - by_pillow(tmp_path / "upright.png", fit)).mean() < 2


@pytest.mark.parametrize("size", SIZES[:4], ids=str)
@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.how)
def test_a_place_of_the_square_is_where_the_area_says(tmp_path: Path, fit: SquareFit, size: tuple[int, int]) -> None:
    width, height = size
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.rint(np.linspace(0, 240, width))
    ramp[..., 1] = np.rint(np.linspace(0, 240, height))[:, None]
    ramp[..., 2] = 255  # of the image, not of the colour around it
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    square = read_resized(tmp_path / "ramp.png", fit).astype(int)
    top, left, tall, wide = fit.area(height, width)
    seen = 0
    for row in range(2, SIDE - 2):
        for column in range(2, SIDE - 2):
            y, x = top + (row + 0.5) / SIDE * tall, left + (column + 0.5) / SIDE * wide
            if min(x, y) < 0.1 or max(x, y) > 0.9:
                continue
            assert square[row, column, 2] == 255
            expected = 240 * (x * width - 0.5) / (width - 1), 240 * (y * height - 0.5) / (height - 1)
            np.testing.assert_allclose(square[row, column, :2], expected, atol=2.5)
            seen += 1
    assert seen >= 40


def test_the_visible_part_of_a_letterbox_is_the_whole_image() -> None:
    area = SquareFit(SIDE, "letterbox").area(64, 96)
    assert area.top < 0
    assert area.inside == Area()
    inside = area.inside.relative_to(area)
    assert (inside.left, inside.width) == (0, 1)
    assert inside.height == pytest.approx(2 / 3, abs=0.5 / SIDE)


def test_the_squares_of_each_fit_have_a_key_of_their_own() -> None:
    fits = [*FITS, SquareFit(SIDE, "letterbox"), SquareFit(16), SquareFit(16, "crop")]
    assert len({str(fit.key) for fit in fits}) == len(fits)
    assert SquareFit(SIDE).key == SIDE  # caches of squashed images keep their names
