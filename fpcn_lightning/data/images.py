"""Reads image files: a file in, uint8 RGB out, or the reason why it cannot be read.

Training and deployment both read through this module, so that both see the same pixels. It needs Pillow, NumPy and
(for TIFFs of more than eight bits) tifffile, nothing else. All functions may be called from several threads at once.

**Colours.** Eight bits a channel, RGB, turned upright by the EXIF orientation. Transparent pixels are blended with
white. Colour profiles are not applied. Samples of more than eight bits are scaled, never clipped (see `to_eight_bits`);
of a PNG with 16 bits a channel in more than one channel the high bytes are used, because the samples of this format
fill their range.

**Resizing.** `read_resized` resizes the whole image to the given height and width with Pillow's antialiased bilinear
filter. A JPEG is first decoded at 1/2, 1/4 or 1/8 of its size, whichever is the smallest that still has at least twice
the longer side of the target in both directions.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from fpcn_lightning.data.files import why_no_file
from fpcn_lightning.errors import UserError

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif")
)
"""Lower-case suffixes of the files that are read. The format of a file is decided by its content alone."""

MAX_PIXELS = 250_000_000
"""Larger images are refused: above every phone's sensor (200 million), below what exhausts the memory."""

# Pillow's own limit warns from 89 million pixels on, which real cameras exceed; `_within_limit` replaces it.
Image.MAX_IMAGE_PIXELS = None

# All plugins are registered now: several threads that open the first images would race for it.
Image.init()
# A closed list: Pillow would pass a PostScript file with an image's suffix to Ghostscript. JPEG stands for MPO as well.
_FORMATS = tuple(name for name in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF") if name in Image.OPEN)
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
_TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_ORIENTATION, _BITS, _PHOTOMETRIC = 274, 258, 262
_MIN_IS_WHITE, _GREY_AND_RGB = 0, (0, 1, 2)
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
SENSOR_BITS = (8, 10, 12, 14, 16)

Shape = tuple[int, int]  # height and width in pixels


class UnreadableImage(UserError):  # noqa: N818 - it names what is wrong with the file
    """A file that cannot be read as an image. The message is the reason alone, short enough for a cell of a table."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, 0 to 255; at full size or at the given one.
        width: columns of the upright image before any resize.
        height: rows of the upright image before any resize.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def open_image(path: Path) -> NDArray[np.uint8]:
    """Open an image at its full size.

    Returns:
        uint8 [H, W, 3], RGB, 0 to 255, upright.

    Raises:
        UnreadableImage: the file is missing, empty, damaged, larger than `MAX_PIXELS`, or not an image.
    """
    return decode(read_file(path)).pixels


def read_resized(path: Path, shape: Shape) -> NDArray[np.uint8]:
    """Open an image and resize it; a square loses the aspect ratio, as in the papers.

    Args:
        path: the image file.
        shape: height H and width W of the result in pixels.

    Returns:
        uint8 [H, W, 3], RGB, 0 to 255, upright.

    Raises:
        UnreadableImage: as `open_image`.
    """
    return decode(read_file(path), shape).pixels


def read_file(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        UnreadableImage: there is no such file, it is a folder, pipe or device, or it cannot be read.
    """
    if (reason := why_no_file(path)) is not None:
        raise UnreadableImage(reason)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {error.strerror or error}") from error


def decode(data: bytes, shape: Shape | None = None) -> Decoded:
    """Decode the bytes of an image file, at full size or resized to a height and a width in pixels.

    Raises:
        UnreadableImage: as `open_image`.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        picture, (width, height) = _upright(data, shape)
        if shape is not None:
            picture = picture.resize(shape[::-1], Image.Resampling.BILINEAR)
        # np.asarray would be read-only, which torch.from_numpy warns about.
        return Decoded(np.array(picture), width, height)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise errors of many types for a damaged file
        raise UnreadableImage(_reason(error)) from error


def to_eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale the samples of one image to 0..255; 0 stays black where the type of the data defines it as black.

    Integers from 0 to 65535 are divided by the smallest full range of a sensor (8, 10, 12, 14 or 16 bits) that holds
    the image's maximum, because 12-bit cameras write 16-bit files that would otherwise be nearly black. Floats from 0
    to 1 are multiplied by 255. All other samples (signed, 32-bit, physical units) are stretched from their minimum to
    their maximum; NaN and infinite values become the minimum.

    Args:
        samples: integers or floats of any shape.

    Returns:
        uint8 of the same shape.

    Raises:
        UnreadableImage: complex samples, or no finite value.
    """
    if samples.dtype.kind not in "uif":
        raise UnreadableImage(f"samples of type {samples.dtype} are not supported")
    ceilings = [2.0**bits - 1 for bits in SENSOR_BITS]
    if samples.dtype.kind == "f":
        ceilings = [1.0]
        finite = np.isfinite(samples)
        if not finite.any():
            raise UnreadableImage("all values are NaN or infinite")
        samples = np.where(finite, samples, samples[finite].min())
    low, high = float(samples.min()), float(samples.max())
    if low >= 0 and high <= ceilings[-1]:
        low, high = 0.0, next(ceiling for ceiling in ceilings if high <= ceiling)
    wide = samples.astype(np.result_type(samples, np.float32))
    wide -= low
    wide *= 255 / (high - low) if high > low else 0
    scaled: NDArray[np.uint8] = np.rint(wide).astype(np.uint8)
    return scaled


def _upright(data: bytes, shape: Shape | None) -> tuple[Image.Image, tuple[int, int]]:
    """The image as upright RGB, a JPEG perhaps at a reduced size, and its upright (width, height) at full size."""
    image = _identified(data)
    if image is None or _is_deep_tiff(image):
        picture = _read_deep_tiff(data)
        return picture, picture.size
    stored = _within_limit(*image.size)
    if shape is not None:
        image.draft(None, (2 * max(shape), 2 * max(shape)))  # a square, because the orientation is not known yet
    image.load()
    # Only now: a PNG may store its EXIF behind the pixels, and Pillow turns a TIFF while it loads it.
    orientation = image.getexif().get(_ORIENTATION, 1)
    return _turned(_to_rgb(image), orientation), stored[::-1] if orientation in _SIDEWAYS else stored


def _identified(data: bytes) -> ImageFile.ImageFile | None:
    """The image with its header read; None for a TIFF of a kind that Pillow does not support."""
    formats: tuple[str, ...] = _FORMATS
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        formats = (*_FORMATS, _registered_heif())
    try:
        return Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        if data.startswith(_TIFF_HEADERS):
            return None
        raise UnreadableImage("this is no picture of a known format") from None


def _registered_heif() -> str:
    try:
        import pillow_heif
    except ImportError:
        raise UnreadableImage("HEIC needs one more package: pip install pillow-heif") from None
    pillow_heif.register_heif_opener()
    return "HEIF"


def _within_limit(width: int, height: int) -> tuple[int, int]:
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{width} x {height} pixels are more than the limit of {MAX_PIXELS // 10**6} million")
    return width, height


def _to_rgb(image: ImageFile.ImageFile) -> Image.Image:
    if image.mode[0] in "IF":  # one channel of 16 or 32 bits, which convert() would clip to white
        grey = to_eight_bits(np.asarray(image))
        return Image.fromarray(255 - grey if _tag(image, _PHOTOMETRIC) == _MIN_IS_WHITE else grey).convert("RGB")
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
    return deep and _tag(image, _PHOTOMETRIC) in _GREY_AND_RGB and not image.mode.startswith("I;16")


def _read_deep_tiff(data: bytes) -> Image.Image:
    """The first page of a grey or RGB TIFF, with or without alpha, of more than eight bits, upright."""
    try:
        import tifffile
    except ImportError:
        raise UnreadableImage("a TIFF of this kind needs one more package: pip install tifffile") from None
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.photometric not in _GREY_AND_RGB or page.axes not in ("YX", "YXS", "SYX"):
            raise UnreadableImage("a TIFF that is neither grey nor RGB")
        _within_limit(page.imagewidth, page.imagelength)
        samples = page.asarray()
        orientation = page.tags.valueof(_ORIENTATION, 1)
    if page.axes != "YXS":
        samples = np.moveaxis(samples.reshape(-1, *samples.shape[-2:]), 0, -1)
    colours = 3 if page.photometric == 2 else 1
    colour = to_eight_bits(samples[..., :colours])
    if page.photometric == _MIN_IS_WHITE:
        colour = 255 - colour
    picture = Image.fromarray(np.broadcast_to(colour, (*colour.shape[:2], 3)))
    if page.extrasamples and page.extrasamples[0] > 0:  # 0 is a channel of unknown meaning, not alpha
        picture.putalpha(Image.fromarray(to_eight_bits(samples[..., colours])))
        picture = _on_white(picture)
    return _turned(picture, orientation)


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if "imagecodecs" in text:
        return "this compression of TIFF needs one more package: pip install imagecodecs"
    return f"damaged or unsupported: {text.splitlines()[0][:120]}"
