"""Pictures decoded and resized once, kept as uint8 in a memory map that all processes share.

One file a data set and size: a row of `height * width * 3` bytes for every picture, then one 64-bit word for every
picture. The word is a checksum of the row, with a bit that says 'filled'; a row whose word does not fit is decoded
again. So nothing needs a lock (two processes that fill the same row write the same bytes), a killed process leaves at
most a row that does not fit its word, and damage on disk is mended without anybody noticing.
"""

import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images import Shape
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)

FILLED = 1 << 32
WORD = 8  # bytes


def default_directory() -> Path:
    """Where caches lie unless `data.cache.directory` says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fpcn_lightning"


def cache_key(rows: Sequence[tuple[str, int, int]], form: object) -> str:
    """A name for the pictures of a list of (path, bytes, modification time in ns), in what `form` says of their size.

    Form is the side of squashed pictures in pixels, or whatever else in print tells two forms apart.
    """
    digest = hashlib.sha256(f"v1 {form}".encode())
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()[:16]


class PictureCache:
    """Pictures by position.

    Args:
        path: the file; made when it is missing or has another length.
        shapes: height and width of each picture in pixels.
        max_gigabytes: bound of the file (1 GB = 10^9 bytes); pictures beyond it are decoded each time.

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
        """Length of the file."""
        return int(self.starts[-1]) + self.rows * WORD

    def _open(self) -> None:
        if self.rows:
            file = np.memmap(self.path, dtype=np.uint8, mode="r+", shape=(self.bytes,))
            self._pixels, words = np.split(file, [self.starts[-1]])
            self._words = words.view(np.uint64)

    def __getstate__(self) -> dict[str, object]:
        # A worker process maps the file itself instead of being sent its content.
        return {key: value for key, value in self.__dict__.items() if key not in ("_pixels", "_words")}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._open()

    def get(self, position: int, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The picture [height, width, 3] at `position`, out of the cache or decoded and put there."""
        if position >= self.rows:
            return decode()
        pixels = self._row(position)
        if int(self._words[position]) != _word(pixels):
            self.put(position, decode())
        return pixels

    def put(self, position: int, pixels: NDArray[np.uint8]) -> None:
        """Store a picture; one beyond the bound is left out."""
        if position < self.rows:
            self._row(position)[:] = pixels
            self._words[position] = _word(pixels)

    def _row(self, position: int) -> NDArray[np.uint8]:
        start, stop = self.starts[position : position + 2]
        row: NDArray[np.uint8] = self._pixels[start:stop].reshape(*self.shapes[position], 3)
        return row


def _word(pixels: NDArray[np.uint8]) -> int:
    return FILLED | zlib.crc32(np.ascontiguousarray(pixels).data)


def _reserve(path: Path, length: int) -> None:
    """Make the file with its space on disk set aside, unless it is there.

    Without the space set aside, a disk that fills up would kill the process at a write into the memory map.

    Raises:
        OSError: there is no room, or the folder cannot be written to.
    """
    if length == 0 or (path.exists() and path.stat().st_size == length):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, length)
        else:
            os.truncate(handle, length)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
