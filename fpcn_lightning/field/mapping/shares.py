"""Rectangles in a grid, and what share of each is known."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Edges = NDArray[np.int64]


class Rectangles(NamedTuple):
    """A grid of R x C rectangles, none of them empty.

    Attributes:
        tops: first row of each row of rectangles, [R].
        bottoms: the row below its last one, [R].
        lefts: first column of each column of rectangles, [C].
        rights: the column behind its last one, [C].
    """

    tops: Edges
    bottoms: Edges
    lefts: Edges
    rights: Edges

    def moved(self, down: int, right: int) -> "Rectangles":
        """The same ones elsewhere."""
        return Rectangles(self.tops + down, self.bottoms + down, self.lefts + right, self.rights + right)


def known_shares(known: NDArray[np.bool_], rectangles: Rectangles) -> NDArray[np.float32]:
    """The share of known pixels, by a summed-area table (Crow, SIGGRAPH 1984).

    Args:
        known: bool [H, W].
        rectangles: inside it.

    Returns:
        float32 [R, C], 0..1.
    """
    tops, bottoms, lefts, rights = rectangles
    if known.all():
        return np.ones((len(tops), len(lefts)), np.float32)
    table = np.zeros((known.shape[0] + 1, known.shape[1] + 1), np.int64)
    table[1:, 1:] = known.cumsum(0, np.int64).cumsum(1)
    between = table[bottoms] - table[tops]
    counts = between[:, rights] - between[:, lefts]
    shares: NDArray[np.float32] = (counts / np.outer(bottoms - tops, rights - lefts)).astype(np.float32)
    return shares
