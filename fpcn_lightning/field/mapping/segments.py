"""One picture of a TIFF file in its segments (tiles or strips), each decoded once as long as memory allows."""

import math
from collections import OrderedDict
from collections.abc import Iterator
from itertools import product
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.colours import MIN_IS_BLACK, MIN_IS_WHITE, RGB, YCBCR, Colours, Samples

MAPPED_BYTES = 2**22  # of a piece of a strip that is too large to be decoded whole
JPEG = (6, 7, 33007, 34892)  # TIFF's compressions whose data are JPEG streams
JPEG_END = b"\xff\xd9"

Pixels = NDArray[np.uint8]


class Segment(NamedTuple):
    """A decoded segment.

    Attributes:
        pixels: colours uint8 [H, W, 3], or [H, W, 1] where all three are the same.
        opaque: bool [H, W], which of them show something; None where all do.
    """

    pixels: Pixels
    opaque: NDArray[np.bool_] | None

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return self.pixels.nbytes + (0 if self.opaque is None else self.opaque.nbytes)


class SegmentCache:
    """Decoded segments, the latest used, up to so many bytes; for several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[tuple[int, int], Segment] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: tuple[int, int]) -> Segment | None:
        """The segment, if it is there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: tuple[int, int], segment: Segment) -> None:
        """Keep a segment, and forget those that were not used for longest where there is no room."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = segment
            self._bytes += segment.nbytes
            while self._bytes > self.limit and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


class Segments:
    """The segments of one page.

    A segment is damaged where the file ends before it, where it has no bytes (the hole of a sparse file), where its
    decoder refuses it, or where a JPEG stream has no end. What a decoder does not notice is not found. Pixels that are
    more transparent than opaque show nothing.

    Args:
        page: `tifffile.TiffPage` of 8- or 16-bit samples, grey, RGB or JPEG's YCbCr.
        level: number of the page in its pyramid.
        cache: shared by all levels.

    Attributes:
        height: of the picture, pixels.
        width: likewise.
        colours: how samples become colours; the owner sets the ranges of 16-bit samples.
        damaged: indices of the damaged segments that were met so far.

    Raises:
        UserError: a compression that cannot be decoded, segments too large for the cache, or fewer of them than a
            picture of that size has.
    """

    def __init__(self, page: Any, level: int, cache: SegmentCache) -> None:
        self._page = page
        self._file = page.parent.filehandle
        self._level = level
        self._cache = cache
        self.height, self.width = int(page.imagelength), int(page.imagewidth)
        self.colours = Colours(page.photometric, bool(page.extrasamples) and page.extrasamples[0] > 0)
        self.damaged: set[int] = set()
        self._check_decoder()
        self._planes = page.samplesperpixel if page.planarconfig == 2 else 1
        self._bytes = page.samplesperpixel * np.dtype(page.dtype).itemsize  # of a pixel
        self._length, self._breadth = self._shape()
        self._check_size()

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """A part of the picture that lies inside it.

        Returns:
            Colours uint8 [H, W, 3], and which are known, bool [H, W]: those of damaged segments are not, nor those that
            are transparent.
        """
        pixels = np.zeros((bottom - top, right - left, 3), np.uint8)
        known = np.zeros((bottom - top, right - left), np.bool_)
        rows = range(top // self._length, math.ceil(bottom / self._length))
        columns = range(left // self._breadth, math.ceil(right / self._breadth))
        for row, column in product(rows, columns):
            segment = self._segment(row * self._across + column)
            if segment is None:
                continue
            y, x = row * self._length, column * self._breadth
            cut = slice(max(top - y, 0), bottom - y), slice(max(left - x, 0), right - x)
            part = segment.pixels[cut]
            place = slice(max(y - top, 0), None), slice(max(x - left, 0), None)
            pixels[place][: part.shape[0], : part.shape[1]] = part
            known[place][: part.shape[0], : part.shape[1]] = True if segment.opaque is None else segment.opaque[cut]
        return pixels, known

    def samples(self, most: int) -> Iterator[Samples]:
        """Undamaged segments as they are stored, [H, W, S], at most so many, spread evenly over the picture."""
        for index in np.unique(np.linspace(0, self._count - 1, min(most, self._count)).astype(int)):
            samples = self._decoded(int(index))
            if samples is not None:
                yield samples

    @property
    def _across(self) -> int:
        return math.ceil(self.width / self._breadth)

    @property
    def _count(self) -> int:
        """Segments of one plane."""
        return self._across * math.ceil(self.height / self._length)

    def _check_decoder(self) -> None:
        try:
            self._page.decode(None, 0)  # an empty segment, which says whether there is a decoder
        except Exception as error:  # tifffile raises whatever its decoder needs
            raise UserError(f"{self._file.path}: this kind of TIFF cannot be decoded ({reason_of(error)}).") from error

    def _shape(self) -> tuple[int, int]:
        """Length and breadth of a segment; of a piece of a strip where strips are large and lie open in the file."""
        page = self._page
        length = page.tilelength if page.is_tiled else min(page.rowsperstrip, self.height)
        breadth = page.tilewidth if page.is_tiled else self.width
        self._mapped = False
        if length * breadth * self._bytes <= self._cache.limit:
            return length, breadth
        if page.is_tiled or not page.is_memmappable:
            raise UserError(
                f"{self._file.path} is compressed in pieces of {breadth} x {length} pixels, too large to be read one "
                "by one: save it again in tiles, for example with: vips tiffsave IN OUT.tif --tile --compression "
                "deflate --bigtiff."
            )
        self._mapped = True
        return max(1, MAPPED_BYTES // (breadth * self._bytes)), breadth

    def _check_size(self) -> None:
        """Of a file whose header lies about its size, most would be missing; a file that was cut lists it still."""
        listed, needed, pieces = len(self._page.dataoffsets), self._planes * self._count, "tiles or strips"
        if self._mapped:
            needed, pieces = self.height * self.width * self._bytes, "bytes"
            held = self._file.size - self._page.dataoffsets[0]
            listed = max(held, sum(self._page.databytecounts))  # either may be wrong: cut, or above 32 bits
        if listed < needed:
            raise UserError(
                f"{self._file.path}: the header says {self.width} x {self.height} px but lists only {listed} of "
                f"{needed} {pieces}: save it again."
            )

    def _segment(self, index: int) -> Segment | None:
        """A segment, cut at the picture's edge; None where it is damaged."""
        if index in self.damaged:
            return None
        key = self._level, index
        segment = self._cache.get(key)
        if segment is None and (samples := self._decoded(index)) is not None:
            segment = Segment(self.colours(samples), self.colours.opaque(samples))
            self._cache.put(key, segment)
        return segment

    def _decoded(self, index: int) -> Samples | None:
        top, left = index // self._across * self._length, index % self._across * self._breadth
        rows, columns = min(self._length, self.height - top), min(self._breadth, self.width - left)
        try:
            planes: list[Any] = [self._plane(index, plane, top) for plane in range(self._planes)]
            whole: Samples = np.concatenate(planes, axis=-1)[:rows, :columns]
        except MemoryError:
            raise
        except Exception:  # decoders raise whatever they stumble over
            self.damaged.add(index)
            return None
        if whole.shape[:2] != (rows, columns):
            self.damaged.add(index)
            return None
        return whole

    def _plane(self, index: int, plane: int, top: int) -> Samples:
        """One segment [H, W, S] of all samples, or of one where they are stored apart."""
        if self._mapped:
            return self._rows(plane, top)
        page = self._page
        number = plane * self._count + index
        count = page.databytecounts[number]
        ((data, _),) = self._file.read_segments([page.dataoffsets[number]], [count], [number])
        if data is None or len(data) < count:
            raise ValueError("the file does not hold it")
        # libjpeg fills up with grey what is missing.
        if page.compression in JPEG and not data.rstrip(b"\0").endswith(JPEG_END):
            raise ValueError("a JPEG stream without end")
        decoded, _, _ = page.decode(data, number, jpegtables=page.jpegtables, jpegheader=page.keyframe.jpegheader)
        samples: Samples = decoded[0]
        return samples

    def _rows(self, plane: int, top: int) -> Samples:
        """Rows of a strip through a memory map that is gone afterwards, so that they do not stay resident."""
        page = self._page
        dtype = np.dtype(page.parent.byteorder + page.dtype.char)
        row = self.width * self._bytes // self._planes
        offset = page.dataoffsets[0] + (plane * self.height + top) * row
        shape = min(self._length, self.height - top), self.width, page.samplesperpixel // self._planes
        with self._file.lock:  # numpy moves the file's position
            mapped = self._file.memmap_array(dtype, shape, offset)
        return np.array(mapped, page.dtype)


def reason_of(error: Exception) -> str:
    """Why `tifffile` could not read a picture, in words."""
    text = str(error)
    if "imagecodecs" in text:
        return "needs one more package: pip install imagecodecs"
    stumbled = isinstance(error, ArithmeticError | LookupError | TypeError | AttributeError)
    return "the header is damaged" if stumbled or not text else text.splitlines()[0][:120]


def is_read_in_segments(page: Any) -> bool:
    """Whether a page is of the kind that `Segments` knows."""
    greys = (MIN_IS_WHITE, MIN_IS_BLACK)
    known = page.photometric in ((*greys, RGB, YCBCR) if page.compression in JPEG else (*greys, RGB))
    upright = page.tags.valueof("Orientation", 1) == 1
    return bool(known and upright and page.imagedepth == 1 and page.dtype in (np.uint8, np.uint16))
