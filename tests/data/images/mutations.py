"""Small pictures of all formats, and ways to damage their files."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import decode

WRONG = 24  # of 255, in any channel: more than a lossy format changes when a picture is decoded at another place
WRONG_SHARE = 0.1  # of the pixels: a file that is read with more of them wrong was damaged without being refused

Mutation = Callable[[bytes, np.random.Generator], bytes]


class Subject(NamedTuple):
    """A file to be damaged.

    Attributes:
        data: its bytes.
        pixels: uint8 [H, W, 3], what it shows.
        safe: the mutations that must never go unnoticed in this format.
    """

    data: bytes
    pixels: NDArray[np.uint8]
    safe: frozenset[str]


def truncated(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of a file."""
    return data[: rng.integers(0, len(data))]


def zeroed_tail(data: bytes, rng: np.random.Generator) -> bytes:
    """A copy that was cut off: the rest is zeros."""
    kept = int(rng.integers(len(data) // 10, len(data)))
    return data[:kept] + bytes(len(data) - kept)


def zeroed_block(data: bytes, rng: np.random.Generator) -> bytes:
    """A lost sector: zeros within a file."""
    length = min(512 * int(rng.integers(1, 9)), len(data) // 2)
    start = int(rng.integers(0, len(data) - length))
    return data[:start] + bytes(length) + data[start + length :]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changed bits."""
    return _flipped(data, len(data), rng)


def flipped_header(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three changed bits among the first bytes, which say how the others are read."""
    return _flipped(data, min(64, len(data)), rng)


def _flipped(data: bytes, below: int, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        changed[rng.integers(0, below)] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


MUTATIONS: dict[str, Mutation] = {
    each.__name__: each for each in (truncated, zeroed_tail, zeroed_block, flipped, flipped_header)
}
_ALL, _CUT = frozenset(MUTATIONS), frozenset(("truncated", "zeroed_tail"))
_TRUNCATED = frozenset(("truncated",))


def photograph(height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    """Stains of some sizes and noise, uint8 [H, W, 3]."""
    rng = np.random.default_rng(3)
    pixels = rng.normal(0, 6, (height, width, 3))
    for cells, strength in ((4, 60), (16, 30), (40, 15)):
        stains = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)).resize((width, height))
        pixels += strength * (np.asarray(stains) / 255 - 0.5) * 2
    return np.clip(128 + pixels, 0, 255).astype(np.uint8)


def subjects() -> dict[str, Subject]:
    """A file of each format that can be written here, by name."""
    picture = Image.fromarray(photograph())
    made: dict[str, tuple[bytes, frozenset[str]]] = {
        "jpg": (_saved(picture, "JPEG", quality=90), _CUT | {"zeroed_block"}),
        "progressive.jpg": (_saved(picture, "JPEG", quality=90, progressive=True), _CUT | {"zeroed_block"}),
        "mpo": (
            _saved(picture, "MPO", save_all=True, append_images=[picture.rotate(180)]),
            _CUT,
        ),
        "png": (_saved(picture, "PNG"), _ALL),
        "palette.png": (_saved(picture.quantize(64), "PNG"), _ALL),
        "webp": (_saved(picture, "WEBP", quality=90), _CUT),
        "lossless.webp": (_saved(picture, "WEBP", lossless=True), _CUT),
        "gif": (_saved(picture, "GIF"), _CUT),
        "bmp": (_saved(picture, "BMP"), _TRUNCATED),
        "tif": (_tiff(photograph()), _TRUNCATED),
        "deflate.tif": (_tiff(photograph(), compression="zlib"), _CUT),
        "lzw.tif": (_saved(picture, "TIFF", compression="tiff_lzw"), _CUT),
        "16.tif": (_tiff(photograph().astype(np.uint16) * 257, compression="zlib"), _CUT),
        "float.tif": (_tiff(photograph().astype(np.float32) / 255), _TRUNCATED),
    }
    if "AVIF" in Image.SAVE:
        made["avif"] = (_saved(picture, "AVIF", quality=90), _CUT)
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
        made["heic"] = (_saved(picture, "HEIF", quality=90), _CUT)
    return {name: Subject(data, decode(data).pixels, safe) for name, (data, safe) in made.items()}


def is_damaged(pixels: NDArray[np.uint8], subject: Subject) -> bool:
    """Whether pixels that were read differ from those of the undamaged file."""
    if pixels.shape != subject.pixels.shape:
        return True
    wrong = np.abs(pixels.astype(int) - subject.pixels).max(axis=2) > WRONG
    return bool(wrong.mean() > WRONG_SHARE)


def _saved(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def _tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", rowsperstrip=16, **options)
    return file.getvalue()
