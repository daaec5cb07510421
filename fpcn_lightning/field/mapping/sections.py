"""Any window of a whole-section mosaic, without ever holding the whole."""

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images import SENSOR_BITS
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.colours import bits_of
from fpcn_lightning.field.mapping.section_scale import micrometres_per_pixel
from fpcn_lightning.field.mapping.segments import Pixels, SegmentCache, Segments, is_read_in_segments, reason_of
from fpcn_lightning.field.mapping.whole_picture import WholePicture, is_stretched

CACHE_BYTES = 2**28
SAMPLED_SEGMENTS = 64  # looked at for the range of 16-bit samples


class Level(NamedTuple):
    """One size of a section: its sides in pixels, and how many pixels of the full size are one of its."""

    height: int
    width: int
    factor: float


class _Picture(Protocol):
    height: int
    width: int
    damaged: set[int]

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]: ...


class SectionFile:
    """A section's file, open for reading; a context manager, to be used from several threads.

    A TIFF or BigTIFF of 8- or 16-bit samples, grey or RGB, with or without alpha, is read by its tiles or strips; with
    smaller copies of itself (a pyramid) or without. Of a file with several pictures it is the first that is no smaller
    copy of another. Everything else that `fpcn_lightning.data.images` opens (JPEG, PNG, other kinds of TIFF), is read
    whole, within its limit of pixels.

    16-bit samples are scaled by one factor for the whole section: by `bits`, or by the smallest range of a sensor (8,
    10, 12, 14 or 16 bits) that holds the greatest sample seen in the smallest picture of the pyramid. At most
    `SAMPLED_SEGMENTS` of its segments are looked at, spread evenly; brighter samples elsewhere come out white.

    Args:
        path: the file.
        bits: range of 16-bit samples.
        cache_bytes: memory for decoded segments; one segment must fit.

    Attributes:
        path: as given.
        height: of the full size, pixels.
        width: likewise.
        levels: the sizes that the file holds, the full size first.
        micrometres_per_pixel: of the full size, as the file says; see `micrometres_per_pixel` in `section_scale`.
        pictures: how many a TIFF holds, smaller copies not counted.
        stretched: brightness was stretched from the least to the greatest sample, as nothing says what white is.

    Raises:
        UserError: no such file, no picture, or one that cannot be read in pieces.
    """

    def __init__(self, path: Path, *, bits: int | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        if bits is not None and bits not in SENSOR_BITS:
            raise UserError(f"bits={bits} is no range of samples: {', '.join(map(str, SENSOR_BITS))}.")
        self.path = path
        self.micrometres_per_pixel: float | None = None
        self.pictures, self.stretched = 1, False
        self._file = _opened(path)
        try:
            self._pictures = self._segmented(SegmentCache(cache_bytes), bits) or [self._whole()]
        except BaseException:
            self.close()
            raise
        self.height, self.width = self._pictures[0].height, self._pictures[0].width
        self.levels = tuple(
            Level(picture.height, picture.width, _factor((self.height, self.width), (picture.height, picture.width)))
            for picture in self._pictures
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    @property
    def damaged(self) -> frozenset[tuple[int, int]]:
        """Level and index of the segments that were met so far and could not be read."""
        return frozenset((level, index) for level, picture in enumerate(self._pictures) for index in picture.damaged)

    def read(self, top: int, left: int, height: int, width: int, level: int = 0) -> tuple[Pixels, NDArray[np.bool_]]:
        """A window in pixels of a level; it may lie outside the picture in part.

        Returns:
            Colours uint8 [H, W, 3], and which are known, bool [H, W]: neither those outside nor those of segments that
            are damaged, nor those that are transparent.
        """
        picture = self._pictures[level]
        if min(top, left) >= 0 and top + height <= picture.height and left + width <= picture.width:
            return picture.read(top, left, top + height, left + width)
        pixels, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
        upper, lower = max(top, 0), min(top + height, picture.height)
        first, last = max(left, 0), min(left + width, picture.width)
        if upper < lower and first < last:
            inside = slice(upper - top, lower - top), slice(first - left, last - left)
            pixels[inside], known[inside] = picture.read(upper, first, lower, last)
        return pixels, known

    def _segmented(self, cache: SegmentCache, bits: int | None) -> "list[_Picture]":
        """The pictures of the pyramid; none where the file is to be read whole."""
        if self._file is None:
            return []
        try:
            return self._pyramid(cache, bits)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # a damaged file makes its parser raise anything
            reason = reason_of(error)
            raise UserError(f"{self.path}: damaged or unsupported TIFF ({reason}): save it again.") from error

    def _pyramid(self, cache: SegmentCache, bits: int | None) -> "list[_Picture]":
        full_size = [series for series in self._file.series if not series.keyframe.is_reduced] or self._file.series
        series = full_size[0]
        self.pictures = sum(map(len, full_size))
        if dict(zip(series.axes, series.shape, strict=True)).get("C", 1) > 1:
            raise UserError(f"{self.path} keeps its colours in separate pictures: save it as RGB.")
        pages = [level.pages[0].aspage() for level in series.levels]
        full = pages[0]
        self.micrometres_per_pixel = micrometres_per_pixel(self._file, full)
        if not is_read_in_segments(full):
            if full.index:
                raise UserError(f"{self.path} begins with a smaller copy of the picture: save it without.")
            return []
        alike = [page for page in pages if _shows_the_same(full, page)]
        pictures = [Segments(page, level, cache) for level, page in enumerate(alike)]
        if full.dtype == np.uint16:
            _set_range(pictures, bits)
        return list(pictures)

    def _whole(self) -> WholePicture:
        picture = WholePicture(self.path)  # first, as it knows how large is too large
        self.stretched = self._file is not None and is_stretched(self._file.pages.first)
        return picture


def _opened(path: Path) -> Any:
    """The file as `tifffile.TiffFile`; None where it is no TIFF."""
    try:
        import tifffile
    except ImportError as error:
        raise UserError("Sections are read with one more package: pip install 'fpcn-lightning[map]'.") from error
    try:
        file = tifffile.TiffFile(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception:  # beside its own errors it raises whatever a damaged header makes it stumble over
        return None
    file.filehandle.lock = True
    return file


def _shows_the_same(full: Any, page: Any) -> bool:
    """Whether a page is the same picture, perhaps smaller, and no label or preview of another cut."""
    same = (page.dtype, page.samplesperpixel, page.photometric in (0, 1))
    if same != (full.dtype, full.samplesperpixel, full.photometric in (0, 1)) or not is_read_in_segments(page):
        return False
    sizes = (full.imagelength, full.imagewidth), (page.imagelength, page.imagewidth)
    factor = _factor(*sizes)
    return all(abs(large - factor * small) <= factor for large, small in zip(*sizes, strict=True))


def _factor(full: tuple[int, int], small: tuple[int, int]) -> float:
    """How many pixels of the full size are one of the small: a whole number where that can be."""
    ratio = max(full) / max(small)
    whole = round(ratio)
    fits = all(abs(large - whole * less) < whole for large, less in zip(full, small, strict=True))
    return float(whole) if fits else ratio


def _set_range(pictures: list[Segments], bits: int | None) -> None:
    smallest = min(pictures, key=lambda picture: picture.height * picture.width)
    colour, alpha = 0, 0
    for samples in smallest.samples(SAMPLED_SEGMENTS):
        colour = max(colour, int(samples[..., : smallest.colours.count].max()))
        if smallest.colours.alpha:
            alpha = max(alpha, int(samples[..., smallest.colours.count].max()))
    for picture in pictures:
        picture.colours = picture.colours.ranged(bits or bits_of(colour), bits_of(alpha))
