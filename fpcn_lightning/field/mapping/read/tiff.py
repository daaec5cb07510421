"""Reads one page of a TIFF file by its segments (tiles or strips), each decoded once if the cache is large enough."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images.tiff import JPEG_COMPRESSIONS, check_segment
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.read.tiff_tags import (
    MIN_IS_BLACK,
    MIN_IS_WHITE,
    RGB,
    YCBCR,
    ColourConversion,
    Samples,
)
from fpcn_lightning.installation import lacking

MAPPED_BYTES = 2**22  # of the piece of a strip that is read at once where a strip is too large for the cache

Pixels = NDArray[np.uint8]


class Segment(NamedTuple):
    """A decoded segment.

    Attributes:
        pixels: colours, uint8 [H, W, 3], or [H, W, 1] where all three are the same.
        opaque: bool [H, W], which pixels show something; None if all do.
    """

    pixels: Pixels
    opaque: NDArray[np.bool_] | None

    @property
    def nbytes(self) -> int:
        """Size in memory."""
        return self.pixels.nbytes + (0 if self.opaque is None else self.opaque.nbytes)


class SegmentCache:
    """The most recently used segments, up to `limit` bytes; thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._segments: OrderedDict[tuple[int, int], Segment] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: tuple[int, int]) -> Segment | None:
        """The segment, or None if it is not cached."""
        with self._lock:
            if key in self._segments:
                self._segments.move_to_end(key)
            return self._segments.get(key)

    def put(self, key: tuple[int, int], segment: Segment) -> None:
        """Add a segment, and remove the least recently used ones if the limit is exceeded."""
        with self._lock:
            if key in self._segments:
                return
            self._segments[key] = segment
            self._bytes += segment.nbytes
            while self._bytes > self.limit and len(self._segments) > 1:
                self._bytes -= self._segments.popitem(last=False)[1].nbytes


class SegmentReader:
    """Reads parts of one page.

    A segment counts as damaged if the file ends before it, if it has no bytes (the hole of a sparse file), if its
    decoder fails, or if `fpcn_lightning.data.images.tiff.check_segment` refuses it. Other damage is not found.

    Args:
        page: `tifffile.TiffPage` of 8- or 16-bit samples: grey, RGB or JPEG's YCbCr.
        level: number of the page in its pyramid.
        cache: shared by all levels.

    Attributes:
        height: of the page, pixels.
        width: likewise.
        colours: how samples become colours; the caller sets the ranges of 16-bit samples.
        damaged: indices of the damaged segments that were read so far.

    Raises:
        UserError: a compression without a decoder, segments that are too large for the cache, or fewer segments than a
            page of that size has.
    """

    def __init__(self, page: Any, level: int, cache: SegmentCache) -> None:
        self._page = page
        self._file = page.parent.filehandle
        self._level = level
        self._cache = cache
        self.height, self.width = int(page.imagelength), int(page.imagewidth)
        self.colours = ColourConversion(page.photometric, bool(page.extrasamples) and page.extrasamples[0] > 0)
        self.damaged: set[int] = set()
        self._checked: set[int] = set()  # numbers of stored segments that are not damaged
        self._digests: dict[int, bytes] = {}
        self._check_decoder()
        self._planes = page.samplesperpixel if page.planarconfig == 2 else 1
        self._pixel_bytes = page.samplesperpixel * np.dtype(page.dtype).itemsize
        self._segment_height, self._segment_width = self._segment_shape()
        self._check_size()

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read a part that is inside the page.

        Returns:
            Colours, uint8 [H, W, 3], and which pixels are known, bool [H, W]: neither those of damaged segments nor
            transparent ones.
        """
        pixels = np.zeros((bottom - top, right - left, 3), np.uint8)
        known = np.zeros((bottom - top, right - left), np.bool_)
        rows = range(top // self._segment_height, math.ceil(bottom / self._segment_height))
        columns = range(left // self._segment_width, math.ceil(right / self._segment_width))
        for row, column in product(rows, columns):
            segment = self._segment(row * self._across + column)
            if segment is None:
                continue
            y, x = row * self._segment_height, column * self._segment_width
            source = slice(max(top - y, 0), bottom - y), slice(max(left - x, 0), right - x)
            part = segment.pixels[source]
            target = slice(max(y - top, 0), None), slice(max(x - left, 0), None)
            pixels[target][: part.shape[0], : part.shape[1]] = part
            opaque = True if segment.opaque is None else segment.opaque[source]
            known[target][: part.shape[0], : part.shape[1]] = opaque
        return pixels, known

    def fingerprint(self, top: int, bottom: int) -> bytes:
        """SHA-256 of the bytes that are stored for the segments of some rows, over the whole width."""
        rows = range(top // self._segment_height, math.ceil(bottom / self._segment_height))
        together = hashlib.sha256()
        for row, column in product(rows, range(self._across)):
            index = row * self._across + column
            if index not in self._digests:
                self._digests[index] = hashlib.sha256(self._stored(index)).digest()
            together.update(self._digests[index])
        return together.digest()

    def samples(self, count: int) -> Iterator[Samples]:
        """Undamaged segments as they are stored, [H, W, S]: at most `count`, spread evenly over the page."""
        for index in np.unique(np.linspace(0, self._count - 1, min(count, self._count)).astype(int)):
            samples = self._decoded(int(index))
            if samples is not None:
                yield samples

    @property
    def _across(self) -> int:
        """Segments from left to right."""
        return math.ceil(self.width / self._segment_width)

    @property
    def _count(self) -> int:
        """Segments of one plane."""
        return self._across * math.ceil(self.height / self._segment_height)

    def _check_decoder(self) -> None:
        try:
            self._page.decode(None, 0)  # decoding an empty segment fails if there is no decoder
        except Exception as error:  # tifffile raises many kinds of errors
            raise UserError(f"{self._file.path}: this kind of TIFF cannot be decoded ({reason_of(error)}).") from error

    def _segment_shape(self) -> tuple[int, int]:
        """Height and width of a segment; of a piece of a strip where strips are large and not compressed."""
        page = self._page
        height = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height)
        width = page.tilewidth if page.is_tiled else self.width
        self._mapped = False
        if height * width * self._pixel_bytes <= self._cache.limit:
            return height, width
        if page.is_tiled or not page.is_memmappable:
            raise UserError(
                f"{self._file.path} is compressed in pieces of {width} x {height} pixels, too large to be read one "
                "by one: save it again in tiles, for example with: vips tiffsave IN OUT.tif --tile --compression "
                "deflate --bigtiff."
            )
        self._mapped = True
        return max(1, MAPPED_BYTES // (width * self._pixel_bytes)), width

    def _check_size(self) -> None:
        """A header with a wrong size lists too few segments; a file that was truncated still lists all of them."""
        listed, needed, pieces = len(self._page.dataoffsets), self._planes * self._count, "tiles or strips"
        if self._mapped:
            needed, pieces = self.height * self.width * self._pixel_bytes, "bytes"
            available = self._file.size - self._page.dataoffsets[0]
            # Either may be too small: the file where it is truncated, the count where it exceeds 32 bits.
            listed = max(available, sum(self._page.databytecounts))
        if listed < needed:
            raise UserError(
                f"{self._file.path}: the header says {self.width} x {self.height} px but lists only {listed} of "
                f"{needed} {pieces}: save it again."
            )

    def _segment(self, index: int) -> Segment | None:
        """A segment, cropped to the page; None if it is damaged."""
        if index in self.damaged:
            return None
        key = self._level, index
        segment = self._cache.get(key)
        if segment is None and (samples := self._decoded(index)) is not None:
            segment = Segment(self.colours(samples), self.colours.opaque(samples))
            self._cache.put(key, segment)
        return segment

    def _decoded(self, index: int) -> Samples | None:
        top, left = index // self._across * self._segment_height, index % self._across * self._segment_width
        rows, columns = min(self._segment_height, self.height - top), min(self._segment_width, self.width - left)
        try:
            planes: list[Any] = [self._plane(index, plane, top) for plane in range(self._planes)]
            samples: Samples = np.concatenate(planes, axis=-1)[:rows, :columns]
        except MemoryError:
            raise
        except Exception:  # decoders raise many kinds of errors
            self.damaged.add(index)
            return None
        if samples.shape[:2] != (rows, columns):
            self.damaged.add(index)
            return None
        return samples

    def _plane(self, index: int, plane: int, top: int) -> Samples:
        """One segment [H, W, S] of all samples, or of one sample where planes are stored separately."""
        if self._mapped:
            return self._rows(plane, top)
        page = self._page
        number = plane * self._count + index
        data = self._data(number)
        if data is None or len(data) < page.databytecounts[number]:
            raise ValueError("the file ends before the segment")
        if number not in self._checked:  # most are decoded twice, and a check takes as long as that
            check_segment(data, page.compression)
            self._checked.add(number)
        decoded, _, _ = page.decode(data, number, jpegtables=page.jpegtables, jpegheader=page.keyframe.jpegheader)
        samples: Samples = decoded[0]
        return samples

    def _data(self, number: int) -> bytes | None:
        """What the file has of a stored segment."""
        page = self._page
        data: bytes | None
        ((data, _),) = self._file.read_segments([page.dataoffsets[number]], [page.databytecounts[number]], [number])
        return data

    def _stored(self, index: int) -> bytes:
        """The bytes of a segment in all planes, as many as there are."""
        if self._mapped:
            top = index // self._across * self._segment_height
            return b"".join(self._rows(plane, top).tobytes() for plane in range(self._planes))
        return b"".join(self._data(plane * self._count + index) or b"" for plane in range(self._planes))

    def _rows(self, plane: int, top: int) -> Samples:
        """Rows of a strip through a memory map that is closed afterwards, so that they do not stay in memory."""
        page = self._page
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        row = self.width * self._pixel_bytes // self._planes
        offset = page.dataoffsets[0] + (plane * self.height + top) * row
        shape = min(self._segment_height, self.height - top), self.width, page.samplesperpixel // self._planes
        with self._file.lock:  # numpy moves the file's position
            mapped = self._file.memmap_array(dtype, shape, offset)
        return np.array(mapped, page.dtype)


def reason_of(error: Exception) -> str:
    """Why `tifffile` could not read a picture, for an error message."""
    text = str(error)
    if "imagecodecs" in text:
        return lacking("this compression", ["imagecodecs"], "tiff")
    internal = isinstance(error, ArithmeticError | LookupError | TypeError | AttributeError)
    return "the header is damaged" if internal or not text else text.splitlines()[0][:120]


def is_read_in_segments(page: Any) -> bool:
    """Whether `SegmentReader` supports a page."""
    greys = (MIN_IS_WHITE, MIN_IS_BLACK)
    known = page.photometric in ((*greys, RGB, YCBCR) if page.compression in JPEG_COMPRESSIONS else (*greys, RGB))
    upright = page.tags.valueof("Orientation", 1) == 1
    return bool(known and upright and page.imagedepth == 1 and page.dtype in (np.uint8, np.uint16))
