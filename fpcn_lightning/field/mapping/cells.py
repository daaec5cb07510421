"""The pixels of the maps: square cells of the section, few enough to be held in memory whatever its size."""

import math
from dataclasses import dataclass

MOST_CELLS = 16_000_000
CELLS_PER_STRIDE = 8


def cell_side(height: int, width: int, stride: int, most_cells: int = MOST_CELLS) -> int:
    """Side of a cell in pixels of the section: an eighth of the stride, larger where that would be too many cells."""
    side = max(1, stride // CELLS_PER_STRIDE, math.isqrt(height * width // most_cells))
    while math.ceil(height / side) * math.ceil(width / side) > most_cells:
        side += 1
    return side


@dataclass(frozen=True)
class Cells:
    """A grid of cells from the section's upper left corner; those at the other edges may hang over.

    Args:
        height: of the section, pixels.
        width: likewise.
        side: of a cell.
    """

    height: int
    width: int
    side: int

    @property
    def rows(self) -> int:
        """Cells from top to bottom."""
        return math.ceil(self.height / self.side)

    @property
    def columns(self) -> int:
        """Cells from left to right."""
        return math.ceil(self.width / self.side)

    def standing_in(self, start: int, stop: int, length: int) -> range:
        """Which cells along a side of the section, of this length, have their middle in a part of it.

        The parts of the windows reach from edge to edge, so a cell that hangs over belongs to the last one.
        """
        return range(self._first_from(start, length), self._first_from(stop, length))

    def _first_from(self, place: int, length: int) -> int:
        count = math.ceil(length / self.side)
        return count if place >= length else min(count, math.ceil(place / self.side - 0.5))
