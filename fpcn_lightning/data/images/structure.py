"""Whether the file of a picture is complete, by its end mark, its checksums and the lengths in it.

Decoders fill what is missing with grey or black, or decode the zeros of a copy that was cut off. What each format
allows to be found:

- JPEG (MPO): the end mark of the picture, and everything that libjpeg warns of (`simplejpeg`, strict): data that end
  too early or too late, invalid codes; with the usual tables of codes also a row of zeros. A changed bit that leaves
  all codes valid is not found.
- PNG: the checksum of each chunk that affects the pixels, and the end mark. Every change is found.
- WebP: the lengths of its chunks, and zeros in place of a tenth of the coded picture; of `ZEROS` bytes in a lossless
  one. A changed bit is not found.
- GIF: the chain of its blocks up to the end mark; not a changed bit inside a block.
- BMP: the length in its header, and the end mark of a compressed one; not changed or zeroed pixels.
- HEIC, AVIF: `containers.py`. TIFF: `tiff.py`.

Bytes after the end of a picture are allowed: cameras append previews, videos and padding. More than `PADDING` zeros at
the end are not, because they replace something that was lost.
"""

import struct
import zlib

from fpcn_lightning.data.images.containers import check_boxes
from fpcn_lightning.data.images.jpeg import check_markers
from fpcn_lightning.data.images.limits import UnreadableImage
from fpcn_lightning.data.images.zeros import ZEROED, cut_off, has_zeros

PADDING = 2**15  # zeros after the end of a picture: the largest clusters of common memory cards

REPEATED_EXIF = b"Exif\0\0Exif\0\0"
"""Pillow before version 13 needs a time that grows with the square of the number of repetitions."""

_PNG_AFFECTS_PIXELS = (b"tRNS", b"eXIf")  # besides the critical chunks, which begin with a capital letter
_WEBP_PICTURE = (b"VP8 ", b"VP8L", b"ANMF")
_LOST_SHARE = 10  # a tenth; lossy WebP codes a white area as zeros, up to a twentieth of a file
_BMP_RLE, _BMP_RLE_END = (1, 2), b"\0\1"


def check_structure(data: bytes, file_format: str) -> None:
    """Check the file of a picture, given as its bytes and the name that Pillow has for its format.

    The codes of a JPEG are checked while it is decoded (`decode_checked`).

    Raises:
        UnreadableImage: the file is incomplete or damaged.
    """
    check = _CHECKS.get(file_format)
    if check is None:
        return
    try:
        end = check(data)
    except (struct.error, IndexError, ValueError) as error:
        raise UnreadableImage("damaged: the file ends in the middle of the picture") from error
    if len(data) - max(end, len(data.rstrip(b"\0"))) > PADDING:
        raise UnreadableImage("damaged: the file ends in zeros, as a copy that was cut off")


def _check_png(data: bytes) -> int:
    view, position = memoryview(data), 8
    while True:
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            raise cut_off()
        matters = kind[:1].isupper() or kind in _PNG_AFFECTS_PIXELS
        if matters and zlib.crc32(view[position + 4 : end - 4]).to_bytes(4, "big") != view[end - 4 : end]:
            raise UnreadableImage(f"damaged: wrong checksum of the chunk {kind.decode('latin-1')}")
        position = end
        if kind == b"IEND":
            return position


def _check_webp(data: bytes) -> int:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise cut_off()
    position = 12
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, position)
        stop = position + 8 + length
        if stop > end or not kind.isascii() or b"\0" in kind:
            raise UnreadableImage("damaged: a part of the file is missing")
        lossy = kind != b"VP8L"
        if kind in _WEBP_PICTURE and has_zeros(data, position, stop, length // _LOST_SHARE if lossy else 0):
            raise UnreadableImage(ZEROED)
        position = stop + length % 2
    return end


def _check_gif(data: bytes) -> int:
    position = 13 + _colour_table(data[10])
    while True:
        kind = data[position]
        if kind == 0x3B:
            return position + 1
        if kind == 0x2C:
            position += 10 + _colour_table(data[position + 9]) + 1
        elif kind == 0x21:
            position += 2
        else:
            raise UnreadableImage("damaged: there is no block where a GIF must have one")
        while data[position]:
            position += 1 + data[position]
        position += 1


def _colour_table(flags: int) -> int:
    """Bytes of a GIF's colour table."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _check_bmp(data: bytes) -> int:
    length, _, start, header = struct.unpack_from("<IIII", data, 2)
    if length > len(data):
        raise cut_off()
    compression, size = struct.unpack_from("<II", data, 30) if header >= 40 else (0, 0)
    if compression in _BMP_RLE and not data[start : start + size].endswith(_BMP_RLE_END):
        raise cut_off()
    return len(data)  # pixels may be zeros


def _check_boxes(data: bytes) -> int:
    for start, stop in check_boxes(data):
        if has_zeros(data, start, stop):
            raise UnreadableImage(ZEROED)
    return len(data)


_CHECKS = {
    "JPEG": check_markers,
    "MPO": check_markers,
    "PNG": _check_png,
    "WEBP": _check_webp,
    "GIF": _check_gif,
    "BMP": _check_bmp,
    "DIB": _check_bmp,
    "HEIF": _check_boxes,
    "AVIF": _check_boxes,
}
