"""A section at smaller sizes: the level of its pyramid that is just fine enough, reduced further where necessary."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.mapping.read.tiff import Pixels

MIN_RATIO = 3.0  # Pillow's recommendation for reducing by whole numbers before a resize (`reducing_gap`)
PIECE_BYTES = 2**24  # that are read at once to be reduced

_BAND_PIXELS = 16_000_000  # of a thumbnail, read at once
_MISSING = 255  # white, as on the maps

Edges = NDArray[np.int64]


class ReducedSection:
    """A section at a smaller size.

    The smallest level of the pyramid with at least one pixel for each pixel of the network's view is read. Where it has
    `2 * MIN_RATIO` and more along an edge, blocks of pixels are averaged first, so that windows of any size fit into
    memory. The resize filter of training, which is applied afterwards, hides the difference.

    Args:
        section: the section.
        ratio: pixels of the full-size section in one pixel of the network's view.

    Attributes:
        height: pixels of this size.
        width: likewise.
        scale: pixels of the full-size section in one pixel of this size.
    """

    def __init__(self, section: SectionFile, ratio: float) -> None:
        self._section = section
        fine = [number for number, level in enumerate(section.levels) if level.factor <= max(ratio, 1)]
        self._level = max(fine, key=lambda number: section.levels[number].factor)
        level = section.levels[self._level]
        self._block = max(1, int(ratio / level.factor / MIN_RATIO))
        self.height, self.width = max(1, level.height // self._block), max(1, level.width // self._block)
        self.scale = level.factor * self._block

    def length(self, pixels: int) -> int:
        """A length in pixels of the full size as pixels of this size, at least one."""
        return max(1, round(pixels / self.scale))

    def edges(self, starts: Sequence[int], stops: Sequence[int], limit: int) -> tuple[Edges, Edges]:
        """Starts and stops in pixels of this size, within 0..limit, with at least one pixel between them."""
        first = np.clip(np.rint(np.array(starts, np.float64) / self.scale).astype(np.int64), 0, limit - 1)
        last = np.rint(np.array(stops, np.float64) / self.scale).astype(np.int64)
        return first, np.clip(last, first + 1, limit)

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read a part that is inside: colours, uint8 [H, W, 3], and which pixels are known, bool [H, W]."""
        block = self._block
        height, width = bottom - top, right - left
        if block == 1:
            return self._section.read(top, left, height, width, self._level)
        pixels, known = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.bool_)
        step = max(1, PIECE_BYTES // (3 * width * block**2))
        for start in range(0, height, step):
            rows = min(step, height - start)
            full, full_known = self._section.read(
                (top + start) * block, left * block, rows * block, width * block, self._level
            )
            reduced = Image.fromarray(filled(full, full_known)).reduce(block)
            pixels[start : start + rows] = np.asarray(reduced)
            shares = full_known.reshape(rows, block, width, block).mean((1, 3))
            known[start : start + rows] = shares >= 0.5
        return pixels, known

    def fingerprint(self, top: int, bottom: int) -> bytes:
        """Identifies what the file has in some rows."""
        return self._section.fingerprint(top * self._block, bottom * self._block, self._level)


def filled(pixels: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """Pixels [H, W, 3] in which unknown ones have the mean colour of the known ones.

    Unlike black, the mean adds no edges for the network to find.
    """
    if known.all() or not known.any():
        return pixels
    filling = np.rint(pixels[known].mean(0)).astype(np.uint8)
    return np.where(known[..., None], pixels, filling)


def thumbnail(section: SectionFile, max_size: int) -> NDArray[np.uint8]:
    """The whole section with at most `max_size` pixels along its longer edge.

    It is read from the smallest level of the pyramid that is large enough, band by band. Each pixel is the mean of a
    square of pixels of that level.

    Returns:
        uint8 [h, w, 3], white where the file is damaged.
    """
    sizes = [max(level.height, level.width) for level in section.levels]
    number = max((place for place, size in enumerate(sizes) if size >= max_size), default=0)
    level, factor = section.levels[number], max(1, math.ceil(sizes[number] / max_size))
    step = factor * max(1, _BAND_PIXELS // (factor * level.width))
    bands = []
    for top in range(0, level.height, step):
        pixels, known = section.read(top, 0, min(step, level.height - top), level.width, level=number)
        shown = pixels if known.all() else np.where(known[..., None], pixels, np.uint8(_MISSING))
        bands.append(np.asarray(Image.fromarray(shown).reduce(factor)))
    return np.concatenate(bands)
