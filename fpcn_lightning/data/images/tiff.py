"""TIFF: which kinds are refused, whether the file is complete, and the reader of more than eight bits a sample.

Of the pieces of a picture (strips or tiles), deflate has checksums and JPEG an end mark. LZW and PackBits are refused
if they have a row of zeros, which their coders do not write. Pixels that are not compressed are checked for their
number alone: neither a changed bit nor zeros are found.
"""

import io
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images.limits import ImageLimits, UnreadableImage
from fpcn_lightning.data.images.scaling import to_eight_bits
from fpcn_lightning.data.images.zeros import ZEROED, cut_off, has_zeros

TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MIN_IS_WHITE, GREY, GREY_AND_RGB = 0, (0, 1), (0, 1, 2)
JPEG_COMPRESSIONS = (6, 7, 33007, 34892)
ORIENTATION = 274

SEPARATE_COLOURS = "the file stores its colours in separate pictures: save it as RGB"
SMALLER_FIRST = "the file begins with a smaller copy of the picture: save it without"

_DEFLATE, _LZW, _PACKBITS = (8, 32946), 5, 32773
_JPEG_END = b"\xff\xd9"
_GDAL_NODATA = 42113
_COLOURS = (3, 4)  # grey pictures of one size that may be the colours of one
_PIECE = 2**24  # bytes that are inflated at once


def check_tiff(data: bytes, limits: ImageLimits) -> None:
    """Check a TIFF before it is decoded.

    Raises:
        UnreadableImage: it has too many pixels, is incomplete or damaged, keeps its colours in separate pictures, or
            begins with a smaller copy of itself.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages: Any = file.pages
        page = pages.first
        limits.check_pixels(page.imagewidth, page.imagelength)
        if has_separate_colours(file):
            raise UnreadableImage(SEPARATE_COLOURS)
        if page.is_reduced and not all(other.is_reduced for other in pages):
            raise UnreadableImage(SMALLER_FIRST)
        needed = int(np.prod(page.chunked)) if page.dtype is not None else 0
        if len(page.dataoffsets) < needed:
            raise cut_off()
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if count < 1 or start + count > len(data):
                raise cut_off()
            check_segment(data[start : start + count], page.compression)


def check_segment(segment: bytes, compression: int) -> None:
    """Check a strip or tile, as it is stored.

    Raises:
        UnreadableImage: it is damaged.
    """
    if compression in JPEG_COMPRESSIONS:  # libjpeg fills missing parts with grey
        if not segment.rstrip(b"\0").endswith(_JPEG_END):
            raise cut_off()
    elif compression in _DEFLATE:
        _check_deflate(segment)
    elif compression in (_LZW, _PACKBITS) and has_zeros(segment, 0, len(segment)):
        raise UnreadableImage(ZEROED)


def has_separate_colours(file: Any) -> bool:
    """Whether a `tifffile.TiffFile` keeps the colours of its first picture in several pages or planes of grey.

    So do OME-TIFF and ImageJ. Three or four grey pages of one size count as such, because nothing tells them from it.
    """
    page = file.pages.first
    if page.photometric in GREY and page.samplesperpixel >= min(_COLOURS):
        return True
    if not (file.is_ome or file.is_imagej or len(file.pages) > 1):
        return False
    series = next((series for series in file.series if not series.keyframe.is_reduced), file.series[0])
    sizes = dict(zip(series.axes, series.shape, strict=True))
    pages = [length for axis, length in sizes.items() if axis not in "YXS" and length > 1]
    grey = series.keyframe.photometric in GREY and series.keyframe.samplesperpixel == 1
    return sizes.get("C", 1) > 1 or (grey and len(pages) == 1 and pages[0] in _COLOURS)


def read_deep_tiff(data: bytes) -> tuple[Image.Image, int]:
    """The first page of a checked grey or RGB TIFF, with or without alpha, of any samples, and its orientation.

    Samples that equal the value of GDAL's tag for no data are missing (see `to_eight_bits`).

    Raises:
        UnreadableImage: it is neither grey nor RGB, or cannot be decoded.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.photometric not in GREY_AND_RGB or page.axes not in ("YX", "YXS", "SYX"):
            raise UnreadableImage("a TIFF that is neither grey nor RGB")
        samples = page.asarray()
        orientation = page.tags.valueof(ORIENTATION, 1)
        nodata = _number(page.tags.valueof(_GDAL_NODATA))
    if page.axes != "YXS":
        samples = np.moveaxis(samples.reshape(-1, *samples.shape[-2:]), 0, -1)
    colours = 3 if page.photometric == 2 else 1
    colour = to_eight_bits(samples[..., :colours], nodata)
    if page.photometric == MIN_IS_WHITE:
        colour = 255 - colour
    picture = Image.fromarray(colour) if colours == 3 else Image.fromarray(colour[..., 0]).convert("RGB")
    if page.extrasamples and page.extrasamples[0] > 0:  # 0 is a channel of unknown meaning, not alpha
        picture.putalpha(Image.fromarray(_contiguous(to_eight_bits(samples[..., colours]))))
    return picture, orientation


def _contiguous(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(pixels)


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip(" \0"))
    except ValueError:
        return None


def _check_deflate(segment: bytes) -> None:
    """Inflate a segment, which compares its checksum."""
    inflater, rest = zlib.decompressobj(), segment
    try:
        while rest and not inflater.eof:
            inflater.decompress(rest, _PIECE)
            rest = inflater.unconsumed_tail
    except zlib.error as error:
        raise UnreadableImage(f"damaged: {error}") from error
