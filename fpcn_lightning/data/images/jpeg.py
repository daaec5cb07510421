"""Whether a JPEG is complete: its markers (ITU-T T.81, annex B), and all that libjpeg warns of while it decodes."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from fpcn_lightning.data.images.limits import UnreadableImage
from fpcn_lightning.data.images.zeros import ZEROED, cut_off, has_zeros

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_FILL, _END_OF_IMAGE, _START_OF_SCAN = 0xFF, 0xD9, 0xDA
_SEQUENTIAL, _HUFFMAN_TABLES = (0xC0, 0xC1), 0xC4
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # any marker except a restart marker
_USUAL = "YCbCr"
_END_OF_BLOCK = 0x00  # the symbol for: only zeros follow


class _Segment(NamedTuple):
    marker: int
    start: int  # after its length; of a scan: of the coded data
    stop: int


def check_markers(data: bytes) -> int:
    """The position after the end mark of the first picture.

    Raises:
        UnreadableImage: there is no end mark, or a part of the coded data is zeros.
    """
    segments = list(_segments(data))
    _check_zeros(data, segments)
    return segments[-1].stop


def decode_checked(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode the first picture, and refuse what libjpeg warns of.

    The pixels are those that Pillow decodes, which uses the same library, but ignores its warnings.

    Args:
        data: the file.
        size: width and height of the result: those of the picture, or what `Image.draft` has reduced them to.

    Returns:
        uint8 [H, W, 4], the last channel without meaning; None for a JPEG without colours or of other colours than the
        usual ones, which has been checked and is left to Pillow.

    Raises:
        UnreadableImage: libjpeg warns.
    """
    width, height = size
    try:
        full_height, full_width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours == _USUAL:
            reduced = {} if (full_height, full_width) == (height, width) else {"min_height": height, "min_width": width}
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGBX", **reduced)
            if pixels.shape[:2] == (height, width):
                return pixels
        else:
            # At an eighth of the size, since only the codes are of interest.
            checked = "CMYK" if colours == "CMYK" else "GRAY"
            simplejpeg.decode_jpeg(data, checked, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        raise UnreadableImage(f"damaged: {error}") from error
    return None


def _segments(data: bytes) -> Iterator[_Segment]:
    """What the first picture consists of, up to its end mark."""
    position = 2
    while True:
        if position + 2 > len(data):
            raise cut_off()
        if data[position] != _FILL:
            raise UnreadableImage("damaged: there is no marker where a JPEG must have one")
        marker = data[position + 1]
        if marker == _FILL:
            position += 1
            continue
        start = position = position + 2
        if marker == _END_OF_IMAGE:
            yield _Segment(marker, position, position)
            return
        if marker in _STANDALONE:
            continue
        position += struct.unpack_from(">H", data, position)[0]
        start += 2
        if marker == _START_OF_SCAN:
            start = position
            found = _AFTER_SCAN.search(data, position)
            if found is None:
                raise cut_off()
            position = found.start()
        yield _Segment(marker, start, position)


def _check_zeros(data: bytes, segments: list[_Segment]) -> None:
    """Refuse a row of zeros, where the tables give it no meaning that a picture can have.

    The first symbol of a table has the code of zeros alone. Where that is the end of a block in all tables, an even
    area is coded as zeros. In the usual table of brightness it is a coefficient of -1: where all components are in one
    scan, a row of zeros is then a part of the file that was lost.
    """
    scans = [part for part in segments if part.marker == _START_OF_SCAN]
    if len(scans) != 1 or not any(part.marker in _SEQUENTIAL for part in segments):
        return
    tables = [data[part.start : part.stop] for part in segments if part.marker == _HUFFMAN_TABLES]
    if set(_first_symbols(tables)) - {_END_OF_BLOCK} and has_zeros(data, scans[0].start, scans[0].stop):
        raise UnreadableImage(ZEROED)


def _first_symbols(contents: list[bytes]) -> list[int]:
    """The first symbol of each table of AC coefficients."""
    symbols = []
    for content in contents:
        start = 0
        while start + 17 < len(content):
            if content[start] >> 4:
                symbols.append(content[start + 17])
            start += 17 + sum(content[start + 1 : start + 17])
    return symbols
