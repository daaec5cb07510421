"""The boxes of HEIC and AVIF files (ISO/IEC 14496-12): whether they are complete, and where the coded pictures are.

Neither format has checksums. HEVC never has three zeros in a row, and the range coder of AV1 writes few: a row of zeros
in a coded picture is a part that was lost. Other changes are found only where the decoder fails.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from fpcn_lightning.data.images.limits import UnreadableImage
from fpcn_lightning.data.images.zeros import cut_off

_CODED = (b"hvc1", b"av01")
_FULL_BOX = 4  # bytes of version and flags


class _Box(NamedTuple):
    kind: bytes
    start: int  # of its content
    stop: int


def check_boxes(data: bytes) -> list[tuple[int, int]]:
    """The parts of a file that hold coded pictures, as starts and stops.

    Raises:
        UnreadableImage: a box or a picture reaches beyond the end of the file, or there is no picture.
        struct.error: a box ends in the middle of a number.
    """
    boxes = {box.kind: box for box in _boxes(data, 0, len(data))}
    if b"meta" not in boxes:  # of an image sequence, whose pictures are listed otherwise
        return []
    meta = boxes[b"meta"]
    inner = {box.kind: box for box in _boxes(data, meta.start + _FULL_BOX, meta.stop)}
    if b"iinf" not in inner or b"iloc" not in inner:
        raise UnreadableImage("damaged: the list of its pictures is missing")
    kinds = _item_kinds(data, inner[b"iinf"])
    parts = []
    for item, start, stop in _extents(data, inner[b"iloc"]):
        if stop > len(data):
            raise cut_off()
        if kinds.get(item) in _CODED:
            parts.append((start, stop))
    return parts


def _boxes(data: bytes, start: int, stop: int) -> Iterator[_Box]:
    while start + 8 <= stop:
        length, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if length == 1:
            length, header = struct.unpack_from(">Q", data, start + 8)[0], 16
        elif length == 0:
            length = stop - start
        if not (kind.isascii() and kind.strip(b"\0")):
            return  # what follows the boxes is not part of the picture
        if length < header or start + length > stop:
            raise cut_off()
        yield _Box(kind, start + header, start + length)
        start += length


def _item_kinds(data: bytes, box: _Box) -> dict[int, bytes]:
    """The type of each item by its number."""
    kinds = {}
    wide = data[box.start] > 0
    for entry in _boxes(data, box.start + _FULL_BOX + (4 if wide else 2), box.stop):
        version = data[entry.start]
        if version >= 2:
            item, _, kind = struct.unpack_from(">HH4s" if version == 2 else ">IH4s", data, entry.start + _FULL_BOX)
            kinds[item] = kind
    return kinds


class _Numbers:
    """Reads unsigned numbers of any length one after the other."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data = data
        self._position = start

    def __call__(self, length: int) -> int:
        part = self._data[self._position : self._position + length]
        if len(part) < length:
            raise cut_off()
        self._position += length
        return int.from_bytes(part, "big")


def _extents(data: bytes, box: _Box) -> Iterator[tuple[int, int, int]]:
    """Item, start and stop of each part of an item that is stored in the file directly."""
    version, number = data[box.start], _Numbers(data, box.start + _FULL_BOX)
    sizes = number(2)
    offset_size, length_size, base_size, index_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    wide = 4 if version == 2 else 2
    for _ in range(number(wide)):
        item = number(wide)
        method = number(2) & 15 if version > 0 else 0
        number(2)  # the file that it is in: this one
        base = number(base_size)
        for _ in range(number(2)):
            if version > 0:
                number(index_size)
            start = base + number(offset_size)
            length = number(length_size)
            if method == 0:
                yield item, start, start + length
