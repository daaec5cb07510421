"""Every kind of file that a folder of photographs may hold, written here and opened."""

import importlib.util
import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps, JpegImagePlugin

from fpcn_lightning.data.images import ImageLimits, UnreadableImage, decode, open_image, read_resized, to_eight_bits
from fpcn_lightning.data.images.jpeg import decode_checked

ROCK = np.random.default_rng(7).integers(0, 256, (5, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
"""Blocks of one colour, 40 rows by 64 columns, which every flip or rotation changes and lossy formats preserve."""

RAMP = np.linspace(0, 65535, 40 * 64).reshape(40, 64)

# Where row 0 and column 0 of the stored pixels are in the upright image (EXIF 2.32, tag 0x0112).
UPRIGHT_FROM_STORED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}


def saved(path: Path, pixels: NDArray[Any] = ROCK, mode: str = "RGB", **options: Any) -> Path:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a channel, written by hand since Pillow writes none in colour."""
    height, width, channels = pixels.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + body


def deep_tiff(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    channels = pixels.shape[-1] if pixels.ndim == 3 else 1
    tifffile.imwrite(path, pixels, photometric="rgb" if channels >= 3 else "minisblack", **options)
    return path


def assert_close(pixels: NDArray[np.uint8], expected: NDArray[Any], tolerance: float) -> None:
    assert pixels.dtype == np.uint8
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(float) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("png", {}), ("bmp", {}), ("tif", {}), ("webp", {"lossless": True}), ("tif", {"compression": "tiff_lzw"})],
)
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str, options: dict[str, Any]) -> None:
    pixels = open_image(saved(tmp_path / f"rock.{suffix}", **options))
    assert np.array_equal(pixels, ROCK)
    assert pixels.flags.writeable


@pytest.mark.parametrize("file_format", ["JPEG", "MPO", "WEBP", "AVIF", "HEIF"])
def test_lossy_formats_stay_close(tmp_path: Path, file_format: str) -> None:
    if file_format == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif file_format not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {file_format}")
    options: dict[str, Any] = (
        {"save_all": True, "append_images": [Image.new("RGB", (64, 40))]} if file_format == "MPO" else {}
    )
    pixels = open_image(saved(tmp_path / "rock.jpg", format=file_format, quality=95, **options))
    assert pixels.shape == ROCK.shape
    assert np.abs(pixels.astype(float) - ROCK).mean() < 12


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    for suffix in ("jpg", "webp", "txt"):
        assert np.array_equal(open_image(saved(tmp_path / f"rock.{suffix}", format="PNG")), ROCK)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "tif", "deep tif", "jpg"])
def test_every_exif_orientation_is_applied(tmp_path: Path, kind: str, orientation: int) -> None:
    path = tmp_path / f"rock.{kind[-3:]}"
    if kind == "deep tif":
        deep_tiff(path, ROCK.astype(np.uint16) * 257, extratags=[(274, "H", 1, orientation, True)])
    else:
        exif = Image.Exif()
        exif[274] = orientation
        options: dict[str, Any] = {"quality": 100, "subsampling": 0} if kind == "jpg" else {}
        saved(path, exif=exif, **options)
    upright = UPRIGHT_FROM_STORED[orientation](ROCK)
    assert_close(open_image(path), upright, 8 if kind == "jpg" else 0)
    decoded = decode(path.read_bytes(), (16, 16))
    assert (decoded.height, decoded.width) == upright.shape[:2]
    expected = Image.fromarray(np.ascontiguousarray(upright)).resize((16, 16), Image.Resampling.BILINEAR)
    assert_close(decoded.pixels, np.asarray(expected), 8 if kind == "jpg" else 0)


def test_a_picture_with_a_damaged_exif_block_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "rock.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert open_image(path).shape == ROCK.shape


def test_grey_palette_and_one_bit(tmp_path: Path) -> None:
    grey = np.asarray(Image.fromarray(ROCK).convert("L"))
    assert np.array_equal(open_image(saved(tmp_path / "grey.png", mode="L")), np.stack([grey] * 3, -1))
    assert np.array_equal(open_image(saved(tmp_path / "palette.gif", mode="P")).shape, ROCK.shape)
    assert set(np.unique(open_image(saved(tmp_path / "bits.png", mode="1")))) == {0, 255}


def test_cmyk_becomes_the_original_rgb(tmp_path: Path) -> None:
    assert_close(open_image(saved(tmp_path / "rock.tif", mode="CMYK")), ROCK, 1)
    close = open_image(saved(tmp_path / "rock.jpg", mode="CMYK", quality=100))
    assert_close(close, ROCK, 12)


def test_transparency_is_blended_with_white(tmp_path: Path) -> None:
    alpha = np.full((40, 64, 1), 64, np.uint8)
    alpha[:20] = 255
    path = tmp_path / "rock.png"
    Image.fromarray(np.concatenate([ROCK, alpha], -1)).save(path)
    weight = alpha / 255
    assert_close(open_image(path), ROCK * weight + 255 * (1 - weight), 1)
    deep_tiff(path, np.concatenate([ROCK, alpha], -1).astype(np.uint16) * 257, extrasamples=["unassalpha"])
    assert_close(open_image(path), ROCK * weight + 255 * (1 - weight), 1)


def test_a_transparent_palette_entry_is_white(tmp_path: Path) -> None:
    picture = Image.new("P", (6, 4), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(0, (0, 0, 3, 4))
    for name in ("rock.png", "rock.gif"):
        picture.save(tmp_path / name, transparency=0)
        pixels = open_image(tmp_path / name)
        assert (pixels[:, :3] == 255).all()
        assert (pixels[:, 3:] == (200, 100, 50)).all()


def test_the_first_frame_of_a_gif_and_the_first_page_of_a_tiff(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (9, 7), colour) for colour in ("red", "lime", "blue")]
    for name in ("rock.gif", "rock.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert (open_image(tmp_path / name) == (255, 0, 0)).all()
    tifffile.imwrite(tmp_path / "deep.tif", np.stack([RAMP, RAMP[::-1]]).astype(np.uint16), photometric="minisblack")
    assert_close(open_image(tmp_path / "deep.tif")[..., 0], RAMP / 257, 0.51)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_png_of_16_bits_is_scaled(channels: int) -> None:
    pixels = np.stack([RAMP] * channels, -1).astype(np.uint16)
    if channels in (2, 4):
        pixels[..., -1] = 65535
    assert_close(decode(deep_png(pixels)).pixels, np.stack([RAMP / 257] * 3, -1), 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, before tifffile reads a BigTIFF
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"bigtiff": True}])
@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (RAMP.astype("<u2"), RAMP / 257),
        (RAMP.astype(">u2"), RAMP / 257),
        (np.floor(RAMP / 16).astype(np.uint16), np.floor(RAMP / 16) * 255 / 4095),
        (RAMP.astype(np.uint32) * 60_000, RAMP / 257),
        (RAMP.astype(np.int32) - 30_000, RAMP / 257),
        ((RAMP / 65535).astype(np.float32), RAMP / 257),
        (RAMP / 4 - 3000, RAMP / 257),
    ],
    ids=["u2", "u2 big-endian", "12 bits", "u4", "i4", "f4", "f8"],
)
def test_deep_tiffs_are_scaled(
    tmp_path: Path, samples: NDArray[Any], expected: NDArray[Any], channels: int, options: dict[str, Any]
) -> None:
    if samples.dtype.kind == "f":  # tifffile alone has the predictor of integers only
        options = {**options, "predictor": False}
    if channels == 3:
        samples = np.stack([samples] * 3, -1)
    path = deep_tiff(
        tmp_path / "rock.tif", samples, byteorder=">" if samples.dtype.byteorder == ">" else "<", **options
    )
    assert_close(open_image(path), np.stack([expected] * 3, -1), 1)


def test_planes_and_inverted_grey(tmp_path: Path) -> None:
    planes = (ROCK.astype(np.uint16) * 257).transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    assert np.array_equal(open_image(tmp_path / "planes.tif"), ROCK)
    for dtype in (np.uint16, np.uint32):
        tifffile.imwrite(tmp_path / "white.tif", RAMP.astype(dtype), photometric="miniswhite")
        assert_close(open_image(tmp_path / "white.tif")[..., 0], 255 - RAMP / 257, 0.51)


def test_the_scaling_rule() -> None:
    for bits in (8, 10, 12, 14, 16):
        assert to_eight_bits(np.array([0, 2**bits - 1], np.uint16)).tolist() == [0, 255]
    assert to_eight_bits(np.array([0, 256], np.uint16)).tolist() == [0, round(256 / 1023 * 255)]
    assert to_eight_bits(np.array([0.0, 0.5, np.nan])).tolist() == [0, 128, 0]
    assert to_eight_bits(np.array([-2.0, 0.0, np.inf, 2.0])).tolist() == [0, 128, 0, 255]
    assert to_eight_bits(np.full(3, -5.0)).tolist() == [0, 0, 0]
    for hopeless in (np.array([np.nan]), np.array([1j])):
        with pytest.raises(UnreadableImage):
            to_eight_bits(hopeless)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_refused(file_format: str, part: float) -> None:
    if file_format not in Image.SAVE:
        pytest.skip(f"this Pillow cannot write {file_format}")
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, file_format)
    data = file.getvalue()[: int(len(file.getvalue()) * part)]
    for shape in (None, (16, 16)):
        with pytest.raises(UnreadableImage) as refusal:
            decode(data, shape)
        assert len(str(refusal.value)) < 160
        assert "object at" not in str(refusal.value)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_a_truncated_deep_tiff_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 65536, (40, 64, 3), dtype=np.uint16)
    data = deep_tiff(tmp_path / "rock.tif", noise, **options).read_bytes()
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(data[: len(data) * 2 // 3])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, about a TIFF that ends after its header
def test_other_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    files = {
        "text.jpg": b"a shopping list",
        "empty.jpg": b"",
        "II.tif": b"II*\0 and no more",
        "ps.jpg": b"%!PS-Adobe-3.0 EPSF",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    reasons = {**dict.fromkeys(files, "known format"), "empty.jpg": "empty", "II.tif": "damaged"}
    for name, reason in {**reasons, "": "folder", "absent.jpg": "no such file"}.items():
        for opened in (open_image, lambda path: read_resized(path, (8, 8))):
            with pytest.raises(UnreadableImage, match=reason):
                opened(tmp_path / name)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(recwarn: pytest.WarningsRecorder) -> None:
    size = 20_000
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    data = deep_png(np.zeros((1, 1, 3), np.uint16))
    bomb = data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]
    with pytest.raises(UnreadableImage, match="more than the limit of 120 megapixels"):
        decode(bomb)
    assert not recwarn.list


def test_a_bomb_in_a_deep_tiff_is_refused(tmp_path: Path) -> None:
    path = deep_tiff(tmp_path / "rock.tif", RAMP)
    assert open_image(path, ImageLimits(megapixels=RAMP.size / 1e6)).shape == (40, 64, 3)
    with pytest.raises(UnreadableImage, match="limit"):
        open_image(path, ImageLimits(megapixels=(RAMP.size - 1) / 1e6))


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImage, match=r"pillow_heif, .* not installed: pip install 'fpcn-lightning\[heif\]'"):
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


@pytest.mark.skipif(importlib.util.find_spec("imagecodecs") is not None, reason="imagecodecs is installed")
def test_a_tiff_that_needs_another_codec_says_what_to_install(tmp_path: Path) -> None:
    path = deep_tiff(tmp_path / "rock.tif", ROCK.astype(np.uint16))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["Compression"].overwrite(5)  # LZW
    with pytest.raises(UnreadableImage, match=r"imagecodecs, .* not installed: pip install 'fpcn-lightning\[tiff\]'"):
        open_image(path)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_at_reduced_size_gives_nearly_the_same_square(tmp_path: Path, orientation: int) -> None:
    smooth = Image.fromarray(ROCK).resize((1600, 1000), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[274] = orientation
    smooth.save(tmp_path / "rock.jpg", quality=95, exif=exif)
    decoded = decode((tmp_path / "rock.jpg").read_bytes(), (64, 64))
    assert (decoded.width, decoded.height) == ((1600, 1000) if orientation == 1 else (1000, 1600))
    whole = Image.fromarray(open_image(tmp_path / "rock.jpg")).resize((64, 64), Image.Resampling.BILINEAR)
    difference = np.abs(decoded.pixels.astype(float) - np.asarray(whole))
    assert difference.mean() < 1.5
    assert np.array_equal(read_resized(tmp_path / "rock.jpg", (64, 64)), decoded.pixels)


def test_a_jpeg_below_four_times_the_target_is_decoded_at_full_size(tmp_path: Path) -> None:
    path = saved(tmp_path / "rock.jpg", ROCK.repeat(4, 0).repeat(4, 1))  # 160 rows
    whole = Image.fromarray(open_image(path)).resize((41, 41), Image.Resampling.BILINEAR)
    assert np.array_equal(read_resized(path, (41, 41)), np.asarray(whole))


def test_many_threads_read_the_same_as_one(tmp_path: Path) -> None:
    paths = [
        saved(tmp_path / f"{number}.{suffix}", np.roll(ROCK, number, 1))
        for number in range(8)
        for suffix in ("png", "jpg", "gif", "webp")
    ]
    alone = [read_resized(path, (24, 24)) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda path: read_resized(path, (24, 24)), paths * 5))
    assert all(np.array_equal(one, other) for one, other in zip(alone * 5, together, strict=True))


# --- a JPEG is checked and decoded in one pass ---------------------------------------------------------------------


def by_pillow(data: bytes, shape: tuple[int, int] | None) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    if shape is not None:
        image.draft(None, (2 * max(shape), 2 * max(shape)))
    picture = ImageOps.exif_transpose(image).convert("RGB")
    return np.array(picture if shape is None else picture.resize(shape[::-1], Image.Resampling.BILINEAR))


@pytest.mark.parametrize("shape", [None, (40, 25), (9, 9), (150, 170)])
@pytest.mark.parametrize("size", [(163, 151), (97, 200), (8, 1), (17, 16)])
@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": "4:2:0"},
        {"subsampling": "4:2:2", "quality": 30},
        {"subsampling": "4:4:4", "progressive": True},
        {"progressive": True, "optimize": True},
        {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"},
    ],
    ids=str,
)
def test_the_pixels_of_a_jpeg_are_those_of_pillow(
    options: dict[str, Any], size: tuple[int, int], shape: tuple[int, int] | None
) -> None:
    data = jpeg(Image.fromarray(smooth(*size)), **options)
    np.testing.assert_array_equal(decode(data, shape).pixels, by_pillow(data, shape))


def smooth(width: int, height: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def test_only_a_jpeg_of_the_usual_colours_is_decoded_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(smooth(40, 30))
    others = [jpeg(image.convert("L")), jpeg(image.convert("CMYK")), jpeg(image, keep_rgb=True)]
    for data in others:
        assert decode_checked(data, image.size) is None
        np.testing.assert_array_equal(decode(data).pixels, by_pillow(data, None))
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", forbidden_load)
    assert decode(jpeg(image)).pixels.shape == (30, 40, 3)


def forbidden_load(image: Image.Image) -> None:
    raise AssertionError("Pillow decoded it again")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("shape", [None, (4, 4)])
def test_what_libjpeg_warns_of_is_refused_at_every_scale(mode: str, shape: tuple[int, int] | None) -> None:
    data = jpeg(Image.fromarray(smooth(160, 120)).convert(mode), quality=90)
    middle = len(data) * 2 // 3
    with pytest.raises(UnreadableImage, match="damaged: "):
        decode(data[:middle] + data[-2:], shape)
