"""Reads any window of a whole-section mosaic without loading the whole file into memory."""

import hashlib
import io
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fpcn_lightning.data.files import why_no_file
from fpcn_lightning.data.images import SENSOR_BITS, ImageLimits, UnreadableImage, decode, read_file
from fpcn_lightning.data.images.tiff import SEPARATE_COLOURS, has_separate_colours
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.read.tiff import (
    Pixels,
    SegmentCache,
    SegmentReader,
    is_read_in_segments,
    reason_of,
)
from fpcn_lightning.field.mapping.read.tiff_tags import MIN_OPACITY, bits_of, micrometres_per_pixel

CACHE_BYTES = 2**28
_LIMITS = ImageLimits(megapixels=250, megabytes=4000)  # of a section that is read as a whole, one at a time
SAMPLED_SEGMENTS = 64  # that the range of 16-bit samples is measured on


class PyramidLevel(NamedTuple):
    """One size of a section: its height and width in pixels, and how many pixels of the full size are one pixel."""

    height: int
    width: int
    factor: float


class _Reader(Protocol):
    height: int
    width: int
    damaged: set[int]

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]: ...

    def fingerprint(self, top: int, bottom: int) -> bytes: ...


class SectionFile:
    """A section's file, open for reading; a context manager, thread-safe.

    A TIFF or BigTIFF of 8- or 16-bit samples, grey or RGB, with or without alpha, is read by its tiles or strips; with
    or without smaller copies of itself (a pyramid). If a file has several pictures, the first that is no smaller copy
    of another is read. Everything else that `fpcn_lightning.data.images` opens (JPEG, PNG, other kinds of TIFF) is read
    into memory as a whole, up to the number of pixels that it allows.

    16-bit samples are scaled by one factor for the whole section: by `bits`, or by the smallest range of a sensor (8,
    10, 12, 14 or 16 bits) that includes the largest sample found in the smallest level of the pyramid. At most
    `SAMPLED_SEGMENTS` of its segments are searched, spread evenly; brighter samples elsewhere become white.

    Args:
        path: the file.
        bits: range of 16-bit samples; None measures it.
        cache_bytes: memory for decoded segments; one segment must fit.

    Attributes:
        path: as given.
        height: of the full size, pixels.
        width: likewise.
        levels: the sizes in the file, the full size first.
        micrometres_per_pixel: of the full size, from the file (`read.tiff_tags.micrometres_per_pixel`).
        pictures: number of pictures in a TIFF without smaller copies.
        stretched: brightness was stretched from the smallest to the largest sample, since the file does not define
            white.

    Raises:
        UserError: the file is missing, is no picture, or cannot be read in pieces.
    """

    def __init__(self, path: Path, *, bits: int | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        if bits is not None and bits not in SENSOR_BITS:
            raise UserError(f"bits={bits} is no range of samples: {', '.join(map(str, SENSOR_BITS))}.")
        self.path = path
        self.micrometres_per_pixel: float | None = None
        self.pictures, self.stretched = 1, False
        self._file = _open_tiff(path)
        try:
            self._readers = self._segment_readers(SegmentCache(cache_bytes), bits) or [self._whole_picture()]
        except BaseException:
            self.close()
            raise
        self.height, self.width = self._readers[0].height, self._readers[0].width
        self.levels = tuple(
            PyramidLevel(reader.height, reader.width, _factor((self.height, self.width), (reader.height, reader.width)))
            for reader in self._readers
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    @property
    def damaged(self) -> frozenset[tuple[int, int]]:
        """Level and index of the damaged segments that were read so far."""
        return frozenset((level, index) for level, reader in enumerate(self._readers) for index in reader.damaged)

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read a window in pixels of a level; it may be partly outside the section.

        Returns:
            Colours, uint8 [H, W, 3], and which pixels are known, bool [H, W]: neither those outside, nor those of
            damaged segments, nor transparent ones.
        """
        reader = self._readers[level]
        if min(top, left) >= 0 and top + height <= reader.height and left + width <= reader.width:
            return reader.read(top, left, top + height, left + width)
        pixels, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
        upper, lower = max(top, 0), min(top + height, reader.height)
        first, last = max(left, 0), min(left + width, reader.width)
        if upper < lower and first < last:
            inside = slice(upper - top, lower - top), slice(first - left, last - left)
            pixels[inside], known[inside] = reader.read(upper, first, lower, last)
        return pixels, known

    def fingerprint(self, top: int, bottom: int, level: int = 0) -> bytes:
        """Identifies what the file has in some rows of a level; those outside are left out."""
        reader = self._readers[level]
        return reader.fingerprint(max(top, 0), min(bottom, reader.height))

    def _segment_readers(self, cache: SegmentCache, bits: int | None) -> "list[_Reader]":
        """A reader for each level of the pyramid; none if the file must be read as a whole."""
        if self._file is None:
            return []
        try:
            return self._pyramid(cache, bits)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # tifffile raises many kinds of errors on a damaged file
            reason = reason_of(error)
            raise UserError(f"{self.path}: damaged or unsupported TIFF ({reason}): save it again.") from error

    def _pyramid(self, cache: SegmentCache, bits: int | None) -> "list[_Reader]":
        full_size = [series for series in self._file.series if not series.keyframe.is_reduced] or self._file.series
        series = full_size[0]
        self.pictures = sum(map(len, full_size))
        if has_separate_colours(self._file):
            raise UserError(f"{self.path}: {SEPARATE_COLOURS}.")
        pages = [level.pages[0].aspage() for level in series.levels]
        full = pages[0]
        self.micrometres_per_pixel = micrometres_per_pixel(self._file, full)
        if not is_read_in_segments(full):
            if full.index:
                raise UserError(f"{self.path} begins with a smaller copy of the picture: save it without.")
            return []
        same = [page for page in pages if _is_same_picture(full, page)]
        readers = [SegmentReader(page, level, cache) for level, page in enumerate(same)]
        if full.dtype == np.uint16:
            _set_range(readers, bits)
        return list(readers)

    def _whole_picture(self) -> "_WholePicture":
        picture = _WholePicture(self.path)  # first, since it checks the number of pixels
        self.stretched = self._file is not None and _is_stretched(self._file.pages.first)
        return picture


class _WholePicture:
    """A picture that `fpcn_lightning.data.images` opens, in memory; `damaged` stays empty: a damaged file is refused.

    Raises:
        UserError: the file is no picture, is damaged or too large.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = read_file(path, _LIMITS)
            self._pixels = decode(data, limits=_LIMITS).pixels
        except UnreadableImage as error:
            raise UserError(
                f"{path}: {error}. Sections of any size are read from TIFF of 8 or 16 bits, grey or RGB, upright."
            ) from error
        self._opaque = _opaque(data)
        self.height, self.width = self._pixels.shape[:2]
        self.damaged: set[int] = set()

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read a part that is inside the picture: colours, uint8 [H, W, 3], and which pixels are known, bool [H, W]."""
        part = slice(top, bottom), slice(left, right)
        known = np.ones((bottom - top, right - left), np.bool_) if self._opaque is None else self._opaque[part]
        return self._pixels[part], known

    def fingerprint(self, top: int, bottom: int) -> bytes:
        """SHA-256 of the pixels of some rows."""
        known = b"" if self._opaque is None else self._opaque[top:bottom].tobytes()
        return hashlib.sha256(self._pixels[top:bottom].tobytes() + known).digest()


def _open_tiff(path: Path) -> Any:
    """The file as `tifffile.TiffFile`; None if it is no TIFF."""
    import tifffile

    if (reason := why_no_file(path)) is not None:
        raise UserError(f"{path} cannot be read: {reason}.")
    try:
        file = tifffile.TiffFile(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception:  # tifffile raises many kinds of errors on a damaged header
        return None
    file.filehandle.lock = True
    return file


def _is_same_picture(full: Any, page: Any) -> bool:
    """Whether a page shows the full-size picture, perhaps smaller, and is no label or preview of another part."""
    same = (page.dtype, page.samplesperpixel, page.photometric in (0, 1))
    if same != (full.dtype, full.samplesperpixel, full.photometric in (0, 1)) or not is_read_in_segments(page):
        return False
    sizes = (full.imagelength, full.imagewidth), (page.imagelength, page.imagewidth)
    factor = _factor(*sizes)
    return all(abs(large - factor * small) <= factor for large, small in zip(*sizes, strict=True))


def _factor(full: tuple[int, int], small: tuple[int, int]) -> float:
    """How many pixels of the full size are one pixel of the small size: a whole number where possible."""
    ratio = max(full) / max(small)
    whole = round(ratio)
    fits = all(abs(large - whole * less) < whole for large, less in zip(full, small, strict=True))
    return float(whole) if fits else ratio


def _set_range(readers: list[SegmentReader], bits: int | None) -> None:
    smallest = min(readers, key=lambda reader: reader.height * reader.width)
    colour, alpha = 0, 0
    for samples in smallest.samples(SAMPLED_SEGMENTS):
        colour = max(colour, int(samples[..., : smallest.colours.colour_samples].max()))
        if smallest.colours.alpha:
            alpha = max(alpha, int(samples[..., smallest.colours.colour_samples].max()))
    for reader in readers:
        reader.colours = reader.colours.with_ranges(bits or bits_of(colour), bits_of(alpha))


def _is_stretched(page: Any) -> bool:
    """Whether `fpcn_lightning.data.images.to_eight_bits` stretches the samples of a `tifffile.TiffPage`."""
    if page.dtype is None or page.dtype.kind not in "iuf" or page.dtype in (np.uint8, np.uint16):
        return False
    try:
        samples = page.asarray()
    except Exception:  # Pillow reads some compressions that tifffile does not; assume that it stretched
        return True
    finite = samples[np.isfinite(samples)]
    maximum = 1 if page.dtype.kind == "f" else 2 ** SENSOR_BITS[-1] - 1
    return bool(finite.size and (finite.min() < 0 or finite.max() > maximum))


def _opaque(data: bytes) -> NDArray[np.bool_] | None:
    """Which pixels show something, bool [H, W], upright; None if all do."""
    try:
        picture: Image.Image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:  # a deep TIFF that only tifffile reads
        return None
    with picture:
        picture.load()
        if picture.mode[0] in "IF" or not picture.has_transparency_data:
            return None
        alpha = ImageOps.exif_transpose(picture).convert("RGBA").getchannel("A")
    return np.asarray(alpha) >= MIN_OPACITY
