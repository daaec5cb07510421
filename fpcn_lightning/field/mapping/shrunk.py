"""The copy of a section that is just finer than the network needs, shrunk further on the way where that is far off."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.field.mapping.sections import SectionFile
from fpcn_lightning.field.mapping.segments import Pixels
from fpcn_lightning.field.mapping.shares import Edges
from fpcn_lightning.field.mapping.windows import Box

LEAST_RATIO = 3.0  # Pillow's own advice for shrinking by whole numbers before it resizes (`reducing_gap`)
PIECE_BYTES = 2**24  # that are read at once to be shrunk


class Shrunk:
    """A section at a smaller size.

    The smallest copy in the file that has at least one pixel for each of the network's is taken. Where it still has
    `2 * LEAST_RATIO` and more in a row, blocks of pixels are averaged first, so that windows of any size fit into
    memory; the filter of training, which follows, hides the difference.

    Args:
        section: the section.
        ratio: pixels of the full-size section in one of the network's.

    Attributes:
        height: pixels of this size.
        width: likewise.
        scale: pixels of the full-size section in one of this size.
    """

    def __init__(self, section: SectionFile, ratio: float) -> None:
        self._section = section
        fine = [number for number, level in enumerate(section.levels) if level.factor <= max(ratio, 1)]
        self._level = max(fine, key=lambda number: section.levels[number].factor)
        level = section.levels[self._level]
        self._block = max(1, int(ratio / level.factor / LEAST_RATIO))
        self.height, self.width = max(1, level.height // self._block), max(1, level.width // self._block)
        self.scale = level.factor * self._block

    def length(self, pixels: int) -> int:
        """How many pixels of this size stand for so many of the full size, at least one."""
        return max(1, round(pixels / self.scale))

    def edges(self, starts: Sequence[int], stops: Sequence[int], most: int) -> tuple[Edges, Edges]:
        """Starts and stops in pixels of this size, inside 0..most, with at least one pixel between them."""
        first = np.clip(np.rint(np.array(starts, np.float64) / self.scale).astype(np.int64), 0, most - 1)
        last = np.rint(np.array(stops, np.float64) / self.scale).astype(np.int64)
        return first, np.clip(last, first + 1, most)

    def read(self, box: Box) -> tuple[Pixels, NDArray[np.bool_]]:
        """Colours uint8 [H, W, 3] of a part that lies inside, and which are known, bool [H, W]."""
        block = self._block
        height, width = box.bottom - box.top, box.right - box.left
        if block == 1:
            return self._section.read(box.top, box.left, height, width, self._level)
        pixels, known = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.bool_)
        step = max(1, PIECE_BYTES // (3 * width * block**2))
        for start in range(0, height, step):
            rows = min(step, height - start)
            top, left = (box.top + start) * block, box.left * block
            whole, all_known = self._section.read(top, left, rows * block, width * block, self._level)
            reduced = Image.fromarray(filled(whole, all_known)).reduce(block)
            pixels[start : start + rows] = np.asarray(reduced)
            shares = all_known.reshape(rows, block, width, block).mean((1, 3))
            known[start : start + rows] = shares >= 0.5
        return pixels, known


def filled(pixels: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """Pixels [H, W, 3] where the unknown ones have the mean colour of the others.

    The network must be shown something there; the mean has no edges of its own, as black would have.
    """
    if known.all() or not known.any():
        return pixels
    filling = np.rint(pixels[known].mean(0)).astype(np.uint8)
    return np.where(known[..., None], pixels, filling)
