"""Images decoded and resized once, stored as uint8 in a memory map that all processes share.

One file for each data set and size: a row of `height * width * 3` bytes for every image, then one 64-bit word for every
image. The word is a checksum of the row, with a bit that marks the row as filled; a row that does not match its word is
decoded again. So nothing needs a lock (two processes that fill the same row write the same bytes), a killed process
leaves at most a row that does not match its word, and a row that is damaged on disk is replaced.

A process checks each row the first time that it reads it, also one that it has written, and not again: the checksum
takes longer than the copy of a crop. Damage that a row takes after that is seen by the next process.
"""

import hashlib
import logging
import os
import weakref
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images import Shape
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_write

logger = logging.getLogger(__name__)

FILLED = 1 << 32
WORD = 8  # bytes


def default_directory() -> Path | None:
    """The folder of caches if `data.cache.directory` is not set; None for a user without a home folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpcn_lightning"
    except RuntimeError:  # neither HOME nor an entry in the list of users, as in a container with another user id
        return None


def cache_key(rows: Sequence[tuple[str, int, int]], form: object) -> str:
    """A name for the images of a list of (path, bytes, modification time in ns), stored at the sizes that `form` gives.

    `form` is the size in pixels of images that are resized to a square, or any other value whose text identifies the
    sizes.
    """
    digest = hashlib.sha256(f"v2 {form}".encode())
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()[:16]


class PictureCache:
    """Images by position.

    Args:
        path: the file; it is created if it is missing or has another length.
        shapes: height and width of each image in pixels.
        max_gigabytes: largest size of the file (1 GB = 10^9 bytes); images beyond it are decoded each time.

    The file of another user is only read from: images that it lacks are decoded each time.

    Raises:
        UserError: `max_gigabytes` is negative.
    """

    def __init__(self, path: Path, shapes: Sequence[Shape], max_gigabytes: float) -> None:
        if max_gigabytes < 0:
            raise UserError(f"data.cache.max_gigabytes={max_gigabytes} must not be negative.")
        self.path = path
        self.shapes = np.asarray(shapes, dtype=np.int64).reshape(-1, 2)
        lengths = 3 * self.shapes.prod(axis=1)
        self.rows = int((np.cumsum(lengths + WORD) <= max_gigabytes * 1e9).sum())
        self.starts = np.concatenate([[0], np.cumsum(lengths[: self.rows])])
        if self.rows < len(shapes):
            logger.warning("the cache holds %d of %d pictures: raise data.cache.max_gigabytes", self.rows, len(shapes))
        try:
            _reserve(path, self.bytes)
            self._open()
        except OSError as error:
            logger.warning(
                "no cache of %.1f GB at %s (%s): pictures are decoded each time", self.bytes / 1e9, path, error.strerror
            )
            self.rows = 0

    @property
    def bytes(self) -> int:
        """Size of the file in bytes."""
        return int(self.starts[-1]) + self.rows * WORD

    def _open(self) -> None:
        if self.rows:
            try:
                self._file = self.path.open("r+b", buffering=0)
                weakref.finalize(self, self._file.close)
                mapped = np.memmap(self._file, dtype=np.uint8, mode="r+", shape=(self.bytes,))
            except PermissionError:
                mapped = np.memmap(self.path, dtype=np.uint8, mode="r", shape=(self.bytes,))
            # As a plain array: a view of a memory map runs Python code each time that it is sliced.
            self._pixels, words = np.split(mapped.view(np.ndarray), [self.starts[-1]])
            self._words = words.view(np.uint64)
            self._checked = np.zeros(self.rows, np.bool_)

    def __getstate__(self) -> dict[str, object]:
        # A worker process maps the file again: pickling a memory map would copy its content. It checks the rows itself.
        own = ("_file", "_pixels", "_words", "_checked")
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def get(self, position: int, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The image, uint8 [height, width, 3], at `position`, read from the cache, or decoded and stored there."""
        if position >= self.rows:
            return decode()
        pixels = self._row(position)
        if self._checked[position] or int(self._words[position]) == _word(pixels):
            self._checked[position] = True
            return pixels if pixels.flags.writeable else pixels.copy()  # torch warns about arrays that are read-only
        decoded = decode()
        self.put(position, decoded)
        return decoded

    def put(self, position: int, pixels: NDArray[np.uint8]) -> None:
        """Store an image; one beyond the largest size of the file, or in a file that is only read from, is skipped."""
        if position < self.rows and self._pixels.flags.writeable:
            row = self._row(position)
            try:
                if not _write_at_once(self._file, int(self.starts[position]), pixels, row):
                    row[:] = pixels
            except OSError as error:  # a file system that cannot allocate space in advance may be full
                _warn_of_lost_row(self.path, error.strerror)
                return
            self._words[position] = _word(pixels)

    def _row(self, position: int) -> NDArray[np.uint8]:
        start, stop = self.starts[position : position + 2]
        row: NDArray[np.uint8] = self._pixels[start:stop].reshape(*self.shapes[position], 3)
        return row


def _write_at_once(file: FileIO, start: int, pixels: NDArray[np.uint8], row: NDArray[np.uint8]) -> bool:
    """Write a row by one call of the system: through the map of a new file each of its pages is a page fault.

    Returns:
        Whether all of it was written. Not on Windows, not if a signal interrupts it, and not pixels of another form.
    """
    if not hasattr(os, "pwrite") or (pixels.shape, pixels.dtype) != (row.shape, row.dtype):
        return False
    return os.pwrite(file.fileno(), np.ascontiguousarray(pixels).data, start) == row.nbytes


@cache
def _warn_of_lost_row(path: Path, reason: str | None) -> None:
    logger.warning("%s cannot be written (%s): pictures that it lacks are decoded each time", path, reason)


def _word(pixels: NDArray[np.uint8]) -> int:
    return FILLED | zlib.crc32(np.ascontiguousarray(pixels).data)


def _reserve(path: Path, length: int) -> None:
    """Create the file with its space on disk allocated, unless it exists.

    If the space were not allocated, a full disk would kill the process at a write into the memory map.

    Raises:
        OSError: there is not enough space, or the folder cannot be written to.
    """
    if length == 0 or (path.exists() and path.stat().st_size == length):
        return
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, length)
        else:
            file.truncate(length)
