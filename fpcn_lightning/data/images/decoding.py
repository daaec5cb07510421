"""Decodes an image that is in memory, at full size or resized."""

import contextlib
import hashlib
import importlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from fpcn_lightning.data.images.files import read_file
from fpcn_lightning.data.images.fit import SquareFit
from fpcn_lightning.data.images.jpeg import decode_checked
from fpcn_lightning.data.images.limits import DEFAULT_LIMITS, ImageLimits, UnreadableImage
from fpcn_lightning.data.images.scaling import to_eight_bits
from fpcn_lightning.data.images.shapes import Shape, ShapeRule
from fpcn_lightning.data.images.structure import REPEATED_EXIF, check_structure
from fpcn_lightning.data.images.tiff import (
    GREY_AND_RGB,
    MIN_IS_WHITE,
    ORIENTATION,
    TIFF_HEADERS,
    check_tiff,
    read_deep_tiff,
)
from fpcn_lightning.installation import lacking

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
"""Lower-case suffixes of the files that are read. The format of a file is decided by its content alone."""

# Pillow's own limit warns from 89 million pixels on, which real cameras exceed; `ImageLimits` replaces it.
Image.MAX_IMAGE_PIXELS = None

# Registered now: several threads that open the first images would race for it.
for _name in ("Jpeg", "Mpo", "Png", "WebP", "Bmp", "Gif", "Avif"):
    with contextlib.suppress(ImportError):  # Pillow before 11.3 has no AVIF
        importlib.import_module(f"PIL.{_name}ImagePlugin")
# A closed list: Pillow would pass a PostScript file with an image's suffix to Ghostscript. JPEG stands for MPO as well.
_FORMATS = tuple(name for name in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF") if name in Image.OPEN)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))

_JPEG = ("JPEG", "MPO")
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")

_BITS, _PHOTOMETRIC = 258, 262
_MAX_HEX_EXIF = 200_000  # characters of a PNG's text; larger ones are ignored (see `REPEATED_EXIF`)
_SIDEWAYS = (5, 6, 7, 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, 0 to 255; at full size or at the given one.
        width: columns of the upright image before any resize.
        height: rows of the upright image before any resize.
        digest: SHA-1 of the file's bytes, hexadecimal.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    digest: str


def open_image(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Open an image at its full size.

    Returns:
        uint8 [H, W, 3], RGB, 0 to 255, upright.

    Raises:
        UnreadableImage: the file is missing, empty, damaged, beyond the limits, or not an image.
    """
    return decode(read_file(path, limits), limits=limits).pixels


def read_resized(path: Path, shape: Shape | SquareFit, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Open an image and resize it.

    Args:
        path: the image file.
        shape: height H and width W of the result in pixels, whatever the proportions of the image; or how it becomes a
            square.
        limits: what the file may cost.

    Returns:
        uint8 [H, W, 3], RGB, 0 to 255, upright.

    Raises:
        UnreadableImage: as `open_image`.
    """
    return decode(read_file(path, limits), shape, limits).pixels


def decode(
    data: bytes, shape: Shape | ShapeRule | SquareFit | None = None, limits: ImageLimits = DEFAULT_LIMITS
) -> Decoded:
    """Decode the bytes of an image file.

    Args:
        data: the whole file.
        shape: height and width of the result in pixels, or a function that returns them for the height and the width of
            the upright image, or how it becomes a square; None keeps the full size.
        limits: of the pixels.

    Raises:
        UnreadableImage: as `open_image`.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        if callable(shape):
            return _at_scale(data, shape, limits)
        picture, (width, height) = _upright(data, shape, limits)
        if isinstance(shape, SquareFit):
            picture = shape.applied(picture, height, width)
        elif shape is not None:
            picture = picture.resize(shape[::-1], Image.Resampling.BILINEAR)
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        # np.asarray would be read-only, which torch.from_numpy warns about.
        return Decoded(np.array(picture), width, height, digest)
    except UnreadableImage:
        raise
    except MemoryError:
        raise UnreadableImage("the picture needs more memory than there is") from None
    except Exception as error:  # decoders raise errors of many types for a damaged file
        raise UnreadableImage(_reason(error)) from error


def _at_scale(data: bytes, rule: ShapeRule, limits: ImageLimits) -> Decoded:
    whole = decode(data, limits=limits)
    shape = rule(whole.height, whole.width)
    if shape == (whole.height, whole.width):
        return whole
    limits.check_pixels(shape[1], shape[0])  # a line of one pixel would be enlarged to the size of a tile
    return decode(data, shape, limits)


def _upright(data: bytes, shape: Shape | SquareFit | None, limits: ImageLimits) -> tuple[Image.Image, tuple[int, int]]:
    """The image as upright RGB, a JPEG perhaps at a reduced size, and its upright (width, height) at full size."""
    if REPEATED_EXIF in data:
        raise UnreadableImage("damaged: its Exif block repeats its own header")
    image = _identified(data)
    if data.startswith(TIFF_HEADERS):
        check_tiff(data, limits)
    if image is None or _is_deep_tiff(image):
        deep, orientation = read_deep_tiff(data)
        picture = _turned(_on_white(deep) if deep.mode == "RGBA" else deep, orientation)
        return picture, picture.size
    stored = limits.check_pixels(*image.size)
    check_structure(data, str(image.format))
    if shape is not None:
        longest = shape.side if isinstance(shape, SquareFit) else max(shape)
        image.draft(None, (2 * longest, 2 * longest))  # a square, because the orientation is not known yet
    decoded = _from_jpeg(data, image) if image.format in _JPEG else None
    if decoded is None:
        image.load()
        decoded = _to_rgb(image)
    # Only now: a PNG may store its EXIF behind the pixels, and Pillow turns a TIFF while it loads it.
    orientation = _orientation(image)
    return _turned(decoded, orientation), stored[::-1] if orientation in _SIDEWAYS else stored


def _from_jpeg(data: bytes, image: ImageFile.ImageFile) -> Image.Image | None:
    """The picture of a JPEG, checked and decoded in one pass; None where Pillow has to decode it."""
    pixels = decode_checked(data, image.size)
    return None if pixels is None else Image.frombytes("RGB", image.size, pixels, "raw", "RGBX")


def _orientation(image: ImageFile.ImageFile) -> Any:
    """The EXIF orientation."""
    if len(image.info.get("Raw profile type exif", "")) > _MAX_HEX_EXIF:
        return 1
    return image.getexif().get(ORIENTATION, 1)


def _identified(data: bytes) -> ImageFile.ImageFile | None:
    """The image with its header read; None for a TIFF of a kind that Pillow does not support."""
    formats: tuple[str, ...] = _FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        formats = (*_FORMATS, _registered_heif())
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        if data.startswith(TIFF_HEADERS):
            return None
        if data.startswith(_SIGNATURES):
            raise UnreadableImage("damaged: the beginning of the file cannot be read") from None
        raise UnreadableImage("this is no picture of a known format") from None


def _registered_heif() -> str:
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImage(lacking("HEIC", ["pillow_heif"], "heif")) from None
    pillow_heif.register_heif_opener()
    pillow_heif.options.DECODE_THREADS = 1  # pictures are decoded in parallel instead
    return "HEIF"


def _to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    if image.mode[0] in "IF":  # one channel of 16 or 32 bits, which convert() would clip to white
        grey = to_eight_bits(np.asarray(image))
        return Image.fromarray(255 - grey if _tag(image, _PHOTOMETRIC) == MIN_IS_WHITE else grey).convert("RGB")
    return _on_white(image) if image.has_transparency_data else image.convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    picture = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return picture if turn is None else picture.transpose(turn)


def _tag(image: ImageFile.ImageFile, tag: int) -> Any:
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def _is_deep_tiff(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow would truncate the samples of this TIFF; it reads 16-bit grey exactly, with more compressions."""
    deep = max(_tag(image, _BITS) or (8,)) > 8
    return deep and _tag(image, _PHOTOMETRIC) in GREY_AND_RGB and not image.mode.startswith("I;16")


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "imagecodecs" in text:
        return lacking("this compression of TIFF", ["imagecodecs"], "tiff")
    return f"damaged or unsupported: {text.splitlines()[0][:120]}"
