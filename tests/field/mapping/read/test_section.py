"""Any window of any TIFF: against the reader of training, with damage, and within its memory."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import open_image
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.read import tiff
from fpcn_lightning.field.mapping.read.section import PyramidLevel, SectionFile

HEIGHT, WIDTH, TILE = 150, 203, 64
RGB: dict[str, Any] = {"photometric": "rgb"}
TILED: dict[str, Any] = {"tile": (TILE, TILE)}
STRIPS: dict[str, Any] = {"rowsperstrip": 37}

# Pillow warns of damaged files, which these tests write.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

Array = NDArray[Any]
Write = Callable[..., Path]


def noise(channels: int = 3, dtype: type = np.uint8, height: int = HEIGHT, width: int = WIDTH) -> Array:
    """A picture with another value at almost every pixel, smooth enough for JPEG."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (11 + k)) + np.cos(y / (7 + k) + k) for k in range(channels)]
    most = np.iinfo(dtype).max
    planes = (np.stack(waves, axis=-1) + 2) / 4 * most
    return planes.astype(dtype) if channels > 1 else planes[..., 0].astype(dtype)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(array: Array, name: str = "section.tif", **options: Any) -> Path:
        path = tmp_path / name
        tifffile.imwrite(path, array, **{"metadata": None, **options})
        return path

    return written


def stored(path: Path) -> Array:
    picture: Array = tifffile.imread(path)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def whole(path: Path, **options: Any) -> tuple[Array, Array]:
    with SectionFile(path, **options) as section:
        return section.read(0, 0, section.height, section.width)


@pytest.mark.parametrize("layout", [TILED, STRIPS, {"rowsperstrip": HEIGHT}], ids=("tiles", "strips", "one strip"))
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "jpeg"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_windows_are_those_of_training(write: Write, layout: Any, compression: str | None, dtype: type) -> None:
    kinds = {"grey": 1, "rgb": 3, "rgba": 4}
    for (kind, channels), (order, big) in product(kinds.items(), (("<", False), (">", True))):
        if compression == "jpeg" and (dtype == np.uint16 or kind == "rgba"):
            continue
        options: dict[str, Any] = {
            "photometric": "minisblack" if kind == "grey" else "rgb",
            "byteorder": order,
            "bigtiff": big,
        }
        if kind == "rgba":
            options["extrasamples"] = ("unassalpha",)
        path = write(noise(channels, dtype), compression=compression, **layout, **options)
        expected = stored(path) if compression == "jpeg" else open_image(path)
        with SectionFile(path) as section:
            assert (section.height, section.width) == (HEIGHT, WIDTH)
            pixels, known = section.read(0, 0, HEIGHT, WIDTH)
            part, part_known = section.read(50, 60, 71, 90)
        np.testing.assert_array_equal(pixels, expected)
        np.testing.assert_array_equal(part, expected[50:121, 60:150])
        opaque = noise(4, dtype)[..., 3] > np.iinfo(dtype).max // 2
        np.testing.assert_array_equal(known, opaque if kind == "rgba" else np.ones_like(opaque))
        np.testing.assert_array_equal(part_known, known[50:121, 60:150])


@pytest.mark.parametrize("layout", [TILED, STRIPS, {"rowsperstrip": HEIGHT}], ids=("tiles", "strips", "one strip"))
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_that_are_stored_separately(write: Write, layout: Any, compression: str | None) -> None:
    picture = noise()
    path = write(np.moveaxis(picture, 2, 0), planarconfig="separate", compression=compression, **layout, **RGB)
    np.testing.assert_array_equal(whole(path)[0], picture)
    if "tile" not in layout and compression is None:
        np.testing.assert_array_equal(whole(path, cache_bytes=2000)[0], picture)


def test_a_grey_picture_whose_zero_is_white_is_inverted(write: Write) -> None:
    picture = noise(1)
    pixels, _ = whole(write(picture, photometric="miniswhite", **TILED))
    np.testing.assert_array_equal(pixels, np.repeat(255 - picture[..., None], 3, axis=2))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    top=st.integers(-80, HEIGHT + 80),
    left=st.integers(-80, WIDTH + 80),
    height=st.integers(1, 2 * HEIGHT),
    width=st.integers(1, 2 * WIDTH),
)
def test_pixels_outside_are_not_known(write: Write, top: int, left: int, height: int, width: int) -> None:
    picture, margin = noise(), 3 * WIDTH
    path = write(picture, **TILED, **RGB)
    around = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)))
    inside = np.pad(np.ones((HEIGHT, WIDTH), bool), margin)
    place = slice(top + margin, top + margin + height), slice(left + margin, left + margin + width)
    with SectionFile(path) as section:
        pixels, known = section.read(top, left, height, width)
        assert not section.damaged
    np.testing.assert_array_equal(pixels, around[place])
    np.testing.assert_array_equal(known, inside[place])


@pytest.mark.parametrize("inside", [True, False], ids=("SubIFDs", "later pages"))
def test_a_pyramid_has_levels(tmp_path: Path, inside: bool) -> None:
    picture, path = noise(), tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(picture, subifds=2 if inside else 0, metadata=None, **TILED, **RGB)
        for step in (2, 4):
            file.write(picture[::step, ::step], subfiletype=1, metadata=None, **TILED, **RGB)
        file.write(noise(height=40, width=40), metadata=None, **RGB)  # a label
    with SectionFile(path) as section:
        assert section.levels == (PyramidLevel(150, 203, 1), PyramidLevel(75, 102, 2), PyramidLevel(38, 51, 4))
        for number, step in enumerate((1, 2, 4)):
            level = section.levels[number]
            pixels, known = section.read(0, 0, level.height, level.width, number)
            np.testing.assert_array_equal(pixels, picture[::step, ::step])
            assert known.all()


def damage(path: Path, segment: int, change: Callable[[bytes], bytes]) -> None:
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[segment], page.databytecounts[segment]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = change(bytes(data[offset : offset + count]))
    path.write_bytes(data)


def half_zeroed(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "jpeg"])
@pytest.mark.parametrize("change", [half_zeroed, lambda data: bytes(len(data))], ids=("half", "whole"))
def test_damaged_tiles_are_not_known(write: Write, compression: str, change: Callable[[bytes], bytes]) -> None:
    path = write(noise(), compression=compression, **TILED, **RGB)
    expected, _ = whole(path)
    damage(path, 5, change)  # the second of the second row
    with SectionFile(path) as section:
        pixels, known = section.read(0, 0, HEIGHT, WIDTH)
        section.read(70, 70, 5, 5)
        assert section.damaged == {(0, 5)}
    lost = np.zeros_like(known)
    lost[TILE : 2 * TILE, TILE : 2 * TILE] = True
    np.testing.assert_array_equal(known, ~lost)
    np.testing.assert_array_equal(pixels[known], expected[known])


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_the_missing_end_of_a_file_is_not_known(write: Write, compression: str | None) -> None:
    picture = noise()
    path = write(picture, compression=compression, **STRIPS, **RGB)
    with tifffile.TiffFile(path) as file:
        third = file.pages.first.dataoffsets[2]
    path.write_bytes(path.read_bytes()[: third + 10])
    with SectionFile(path) as section:
        pixels, known = section.read(0, 0, HEIGHT, WIDTH)
        assert section.damaged == {(0, 2), (0, 3), (0, 4)}
    np.testing.assert_array_equal(known.all(1), np.arange(HEIGHT) < 74)
    np.testing.assert_array_equal(pixels[:74], picture[:74])
    assert not known[74:].any()


def test_the_hole_of_a_sparse_file_is_not_known(tmp_path: Path) -> None:
    tiles = [noise(height=TILE, width=TILE), None, noise(height=TILE, width=TILE), noise(height=TILE, width=TILE)]
    path = tmp_path / "sparse.tif"
    tifffile.imwrite(
        path, iter(tiles), shape=(128, 128, 3), dtype=np.uint8, compression="zlib", metadata=None, **TILED, **RGB
    )
    with SectionFile(path) as section:
        _, known = section.read(0, 0, 128, 128)
        assert section.damaged == {(0, 1)}
    assert not known[:64, 64:].any()
    assert known.sum() == 3 * TILE**2


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_strip_larger_than_the_cache_is_memory_mapped(write: Write, order: str, dtype: type) -> None:
    path = write(noise(dtype=dtype), rowsperstrip=HEIGHT, byteorder=order, **RGB)
    np.testing.assert_array_equal(whole(path, cache_bytes=5000)[0], open_image(path))


def test_a_compressed_strip_larger_than_the_cache_is_refused(write: Write) -> None:
    path = write(noise(), rowsperstrip=HEIGHT, compression="zlib", **RGB)
    with pytest.raises(UserError, match="too large to be read one by one: save it again in tiles"):
        SectionFile(path, cache_bytes=5000)


def test_the_missing_end_of_a_large_strip_is_not_known(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpcn_lightning.field.mapping.read.tiff.MAPPED_BYTES", 10 * WIDTH * 3)
    picture = noise()
    path = write(picture, rowsperstrip=HEIGHT, **RGB)
    path.write_bytes(path.read_bytes()[: -25 * WIDTH * 3])
    with SectionFile(path, cache_bytes=10000) as section:
        pixels, known = section.read(0, 0, HEIGHT, WIDTH)
        assert len(section.damaged) == 3
    np.testing.assert_array_equal(known.all(1), np.arange(HEIGHT) < 120)
    np.testing.assert_array_equal(pixels[:120], picture[:120])


def test_a_tile_that_is_decoded_again_is_checked_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path, checked = write(noise(), **TILED, **RGB, compression="zlib"), list[bytes]()
    monkeypatch.setattr(tiff, "check_segment", lambda data, _: checked.append(data))
    monkeypatch.setattr(tiff.SegmentCache, "get", lambda *_: None)
    with SectionFile(path) as section:
        first, again = (section.read(0, 0, section.height, section.width)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(checked) == math.ceil(HEIGHT / TILE) * math.ceil(WIDTH / TILE)


def test_several_threads_read_the_same(write: Write) -> None:
    path = write(noise(), compression="zlib", **TILED, **RGB)
    expected, _ = whole(path)
    with SectionFile(path, cache_bytes=3 * TILE**2 * 3) as section, ThreadPoolExecutor(8) as pool:
        places = [(top, left) for top in range(0, 120, 7) for left in range(0, 170, 7)]
        windows = pool.map(lambda place: section.read(place[0], place[1], 30, 30)[0], places)
        for (top, left), window in zip(places, windows, strict=True):
            np.testing.assert_array_equal(window, expected[top : top + 30, left : left + 30])


def test_16_bit_samples_have_one_factor_for_the_whole_section(write: Write) -> None:
    dark = np.full((HEIGHT, WIDTH), 100, np.uint16)
    dark[140, 200] = 4000  # twelve bits
    path = write(dark, photometric="minisblack", **TILED)
    with SectionFile(path) as section:
        assert section.read(0, 0, 10, 10)[0].max() == round(100 / 4095 * 255)
    with SectionFile(path, bits=8) as section:
        assert section.read(0, 0, 10, 10)[0].max() == 100
        assert section.read(140, 200, 1, 1)[0].max() == 255
    with pytest.raises(UserError, match="bits=9 is no range"):
        SectionFile(path, bits=9)


def test_other_pictures_are_read_whole(tmp_path: Path) -> None:
    picture = Image.fromarray(noise())
    picture.save(tmp_path / "section.png")
    picture.quantize(16).save(tmp_path / "palette.tif")
    picture.save(tmp_path / "turned.tif", tiffinfo={274: 6})
    for name in ("section.png", "palette.tif", "turned.tif"):
        pixels, known = whole(tmp_path / name)
        np.testing.assert_array_equal(pixels, open_image(tmp_path / name))
        assert known.all()


@pytest.mark.parametrize("name", ["section.png", "grey.png", "palette.png", "turned.tif", "turned.png"])
def test_what_is_transparent_is_not_known(tmp_path: Path, name: str) -> None:
    alpha = np.full((HEIGHT, WIDTH), 200, np.uint8)
    alpha[:60, :80] = 127
    picture = Image.fromarray(np.dstack((noise(), alpha)))
    if name.startswith("grey"):
        picture = picture.convert("LA")
    if name.startswith("palette"):
        picture = Image.fromarray((alpha > 127).astype(np.uint8))
        picture.putpalette([9, 9, 9, 200, 0, 0])
        picture.info["transparency"] = 0
    orientation: dict[str, Any] = {"exif": b"Exif\0\0MM\0*\0\0\0\10\0\1\1\22\0\3\0\0\0\1\0\6\0\0\0\0\0\0"}
    turned = {"turned.tif": {"tiffinfo": {274: 6}}, "turned.png": orientation}
    picture.save(tmp_path / name, **turned.get(name, {}))
    expected = np.rot90(alpha > 127, -1) if name in turned else alpha > 127
    pixels, known = whole(tmp_path / name)
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_array_equal(pixels, open_image(tmp_path / name))


def overwrite_tags(path: Path, **tags: int) -> None:
    """Overwrite tags of the header that have one number."""
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in tags.items():
            file.pages.first.tags[name].overwrite(value, dtype="I")


@pytest.mark.parametrize(
    ("options", "tags", "reason"),
    [
        (TILED, {"ImageWidth": 2**31}, r"2147483648 x 150 px but lists only 12 of 100663296 tiles"),
        (TILED, {"ImageWidth": 2**31, "ImageLength": 2**31}, "lists only 12 of"),
        (STRIPS, {"ImageLength": 2**31}, "lists only 5 of"),
        ({"rowsperstrip": HEIGHT}, {"ImageWidth": 2**31}, r"but lists only \d+ of 966367641600 bytes"),
    ],
)
def test_a_header_with_a_wrong_size_is_refused(write: Write, options: Any, tags: Any, reason: str) -> None:
    path = write(noise(), **options, **RGB)
    overwrite_tags(path, **tags)
    with pytest.raises(UserError, match=reason):
        SectionFile(path)


def test_a_damaged_header_is_named(write: Write) -> None:
    path = write(noise(), compression="zlib", **TILED, **RGB)
    overwrite_tags(path, TileWidth=0)
    with pytest.raises(UserError, match=r"\(the header is damaged\)"):
        SectionFile(path)


def test_a_smaller_copy_that_comes_first_is_skipped(tmp_path: Path) -> None:
    picture, path = noise(), tmp_path / "section.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(picture[::5, ::5], subfiletype=1, metadata=None, **RGB)
        file.write(picture, metadata=None, **TILED, **RGB)
    with SectionFile(path) as section:
        np.testing.assert_array_equal(section.read(0, 0, section.height, section.width)[0], picture)
        assert section.pictures == 1


@pytest.mark.parametrize(
    "options", [{"metadata": {}}, {"metadata": None}, {"imagej": True, "metadata": {"axes": "ZYXS"}}], ids=str
)
def test_several_pictures_are_counted(tmp_path: Path, options: Any) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.stack([noise()] * 3), photometric="rgb", **options)
    with SectionFile(path) as section:
        assert section.pictures == 3
        np.testing.assert_array_equal(section.read(0, 0, HEIGHT, WIDTH)[0], noise())


def test_a_smaller_copy_before_a_picture_that_is_read_whole_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "section.tif"
    palette: dict[str, Any] = {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16), "metadata": None}
    with tifffile.TiffWriter(path) as file:
        file.write(noise(1)[::5, ::5], subfiletype=1, **palette)
        file.write(noise(1), **palette)
    with pytest.raises(UserError, match="begins with a smaller copy"):
        SectionFile(path)


def test_stretched_brightness_is_noticed(write: Write) -> None:
    for samples, stretched in (
        (noise().astype(np.float32), True),
        (noise().astype(np.float32) / 255, False),
        (noise().astype(np.int32) - 1, True),
        (noise().astype(np.uint32), False),
        (noise(), False),
    ):
        with SectionFile(write(samples, **RGB)) as section:
            assert section.stretched == stretched


@pytest.mark.parametrize(
    ("content", "reason"), [(b"a field book", "no picture"), (b"", "empty"), (None, "no such file")]
)
def test_no_picture_is_refused(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "notes.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        SectionFile(path)


def test_a_header_without_a_picture_is_refused(write: Write) -> None:
    path = write(noise(), **RGB)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="damaged or unsupported"):
        SectionFile(path)


def test_a_changed_header_is_read_or_refused(write: Write) -> None:
    path = write(noise(), compression="zlib", **STRIPS, **RGB)
    data, chance, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        changed = bytearray(data)
        for place in chance.integers(0, 300, 3):
            changed[place] = chance.integers(0, 256)
        path.write_bytes(changed)
        try:
            with SectionFile(path) as section:
                section.read(0, 0, min(section.height, HEIGHT), min(section.width, WIDTH))
        except UserError:
            refused += 1
    assert 0 < refused < 150


def test_channels_in_separate_pictures_are_refused(write: Write) -> None:
    channels = np.moveaxis(noise(), 2, 0)
    path = write(channels, "section.ome.tif", photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(UserError, match="separate pictures"):
        SectionFile(path)
