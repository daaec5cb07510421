"""Damaged files are refused, and what cameras append to a picture is not damage."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.data.images import SUFFIXES, UnreadableImage, decode, read_resized
from tests.data.images.mutations import MUTATIONS, is_damaged, photograph, subjects

PICTURE = Image.fromarray(photograph())
SUBJECTS = subjects()
PHOTOGRAPHS = os.environ.get("FPCN_PHOTOGRAPHS")  # a folder of photographs in folders of any depth


def saved(file_format: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def assert_refused_or_right(name: str, mutation: str, seed: int, count: int) -> int:
    """The number of damaged files that were refused."""
    subject, rng, refused = SUBJECTS[name], np.random.default_rng(seed), list[str]()
    for _ in range(count):
        data = MUTATIONS[mutation](subject.data, rng)
        try:
            pixels = decode(data).pixels
        except UnreadableImage as error:
            refused.append(str(error))
            continue
        assert mutation not in subject.safe or not is_damaged(pixels, subject)
    assert all(0 < len(reason) < 200 for reason in refused)
    return len(refused)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about damaged metadata
@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_damage_is_refused_where_the_format_can_tell(name: str, mutation: str) -> None:
    refused = assert_refused_or_right(name, mutation, 0, 6)
    if mutation == "truncated":
        assert refused >= 6 * (name != "mpo")  # whose first picture may be whole
    if name.endswith("png"):
        assert refused == 6


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", SUBJECTS)
def test_much_damage_is_refused_where_the_format_can_tell(name: str, mutation: str) -> None:
    assert_refused_or_right(name, mutation, 1, 150)


@pytest.mark.parametrize("shape", [None, (16, 16)])
def test_a_copy_of_a_jpeg_that_was_cut_off_is_refused(shape: tuple[int, int] | None) -> None:
    data = saved("JPEG", quality=90)
    for kept in (len(data) // 4, len(data) // 2, len(data) - 2):
        with pytest.raises(UnreadableImage, match="ends in the middle of the picture"):
            decode(data[:kept] + bytes(len(data) - kept), shape)


def test_what_libjpeg_warns_of_is_refused() -> None:
    data = saved("JPEG", quality=90)
    middle = len(data) // 2
    for damaged in (data[:middle] + data[-2:], data[:-2] + data[middle : middle + 300] + data[-2:]):
        with pytest.raises(UnreadableImage, match="damaged: "):
            decode(damaged)


@pytest.mark.parametrize(
    "appended",
    [b"\0\0\x01\nMCC_Data234SEFHk\0SEFT", bytes(4096), b"ftypmp4 a video", saved("JPEG")],
    ids=["a trailer", "padding", "a video", "a preview"],
)
def test_what_cameras_append_is_ignored(appended: bytes) -> None:
    data = saved("JPEG", quality=90)
    assert np.array_equal(decode(data + appended).pixels, decode(data).pixels)


def test_a_long_row_of_zeros_after_the_picture_is_refused() -> None:
    for file_format in ("JPEG", "PNG", "GIF", "WEBP"):
        with pytest.raises(UnreadableImage, match="the file ends in zeros"):
            decode(saved(file_format) + bytes(100_000))


def test_fill_bytes_between_markers_are_allowed() -> None:
    data = saved("JPEG")
    assert np.array_equal(decode(data[:2] + b"\xff\xff" + data[2:]).pixels, decode(data).pixels)


@pytest.mark.parametrize("colour", ["white", "black", (90, 90, 90)])
@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        ("JPEG", {"optimize": True}),
        ("JPEG", {"progressive": True}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "packbits"}),
        ("GIF", {}),
    ],
)
def test_an_even_background_is_no_damage(file_format: str, options: dict[str, Any], colour: Any) -> None:
    picture = Image.new("RGB", (1200, 1000), colour)
    picture.paste(PICTURE, (300, 300))
    pixels = decode(saved(file_format, picture, **options)).pixels
    assert np.abs(pixels[900:].astype(int) - np.asarray(picture)[900:]).max() < 12


@pytest.mark.parametrize("mode", ["L", "CMYK", "YCbCr"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_jpegs_of_all_kinds_pass(mode: str, options: dict[str, Any]) -> None:
    pixels = decode(saved("JPEG", PICTURE.convert(mode), quality=95, **options)).pixels
    expected = np.asarray(PICTURE.convert(mode).convert("RGB")).astype(int)
    assert np.abs(pixels - expected).mean() < 12


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "WEBP"])
def test_a_damaged_beginning_is_called_so(file_format: str) -> None:
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(saved(file_format)[:12] + bytes(1000))


def repeated(header: bytes, count: int) -> bytes:
    return header * count


EXIF = b"Exif\0\0"


def exif_in_png(exif: bytes) -> bytes:
    data = saved("PNG")
    return data[:33] + chunk(b"eXIf", exif) + data[33:]


def exif_in_jpeg(exif: bytes) -> bytes:
    data = saved("JPEG")
    part = exif[:60_000]
    return data[:2] + (b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part) * 10 + data[2:]


def exif_in_webp(exif: bytes) -> bytes:
    return saved("WEBP", exif=exif)


@pytest.mark.parametrize("make", [exif_in_png, exif_in_jpeg, exif_in_webp])
def test_an_exif_block_that_repeats_its_header_never_reaches_pillow(
    make: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make(repeated(EXIF, 20_000))
    monkeypatch.setattr(Image.Exif, "load", lambda *_: pytest.fail("its time grows with the square of the size"))
    with pytest.raises(UnreadableImage, match="Exif block repeats"):
        decode(data)


def test_an_exif_block_hidden_in_a_text_never_reaches_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  6\n" + repeated(EXIF, 30_000).hex().encode())
    data = saved("PNG")
    monkeypatch.setattr(Image.Exif, "load", lambda *_: pytest.fail("its time grows with the square of the size"))
    assert decode(data[:33] + chunk(b"zTXt", text) + data[33:]).pixels.shape == (120, 160, 3)


@pytest.mark.slow
@pytest.mark.skipif(PHOTOGRAPHS is None, reason="FPCN_PHOTOGRAPHS names no folder of photographs")
def test_real_photographs_are_read() -> None:
    paths = [path for path in Path(str(PHOTOGRAPHS)).rglob("*") if path.suffix.lower() in SUFFIXES]
    assert paths
    reasons = {}
    for path in paths:
        try:
            read_resized(path, (64, 64))
        except UnreadableImage as error:
            reasons[path] = str(error)
    assert reasons == {}


@pytest.mark.slow
@pytest.mark.skipif(PHOTOGRAPHS is None, reason="FPCN_PHOTOGRAPHS names no folder of photographs")
def test_copies_of_real_photographs_that_were_cut_off_are_refused() -> None:
    for path in sorted(Path(str(PHOTOGRAPHS)).rglob("*.jpg"))[::20]:
        data = path.read_bytes()
        if len(data) > 100_000:  # or the zeros may be padding behind a whole picture
            with pytest.raises(UnreadableImage, match="damaged"):
                decode(data[: len(data) // 2] + bytes(len(data) - len(data) // 2), (64, 64))
