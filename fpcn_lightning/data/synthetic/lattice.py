"""Random numbers as functions of a position: any block of an endless plane can be drawn alone and fits the others.

Everything depends on points of square lattices, each of which has its own random numbers: a hash of its row, its column
and a key. No value depends on the block that is drawn, or on what was drawn before; for the same reason the operations
on pixels are only those whose rounding does not depend on the position of a pixel in an array (no sines, powers or
matrix products).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Field = NDArray[np.float32]  # one value a pixel of a block, [height, width]

# Splitmix64: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
# Seeds keep this share of their square away from its edges: then the nearest seed is always one of nine.
_MARGIN = 0.18


class Block(NamedTuple):
    """A rectangle of pixels anywhere in the plane; its coordinates may be negative."""

    top: int
    left: int
    height: int
    width: int

    @property
    def rows(self) -> Whole:
        """Row of every pixel [height, 1]."""
        return np.arange(self.top, self.top + self.height)[:, None]

    @property
    def columns(self) -> Whole:
        """Column of every pixel [1, width]."""
        return np.arange(self.left, self.left + self.width)[None, :]


def key(seed: int, stream: str) -> np.uint64:
    """The key of an independent stream of random numbers; `seed` is not negative."""
    return np.uint64(np.random.SeedSequence([seed, *stream.encode()]).generate_state(1, np.uint64)[0])


def _mixed(state: Hashes) -> Hashes:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return np.asarray(state ^ (state >> np.uint64(31)))


def hashes(of: np.uint64, row: Whole, column: Whole) -> Hashes:
    """64 random bits of each point; rows and columns are broadcast, [h, 1] and [1, w] are fastest."""
    return _mixed(_mixed(of + row.astype(np.uint64) * _STEP) + column.astype(np.uint64) * _STEP)


def uniform(of: np.uint64, row: Whole, column: Whole) -> Field:
    """A random number of each point, uniform from 0 to below 1."""
    return np.asarray((hashes(of, row, column) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24))


def smooth(of: np.uint64, block: Block, wavelength: float) -> Field:
    """Noise from -1 to 1 that changes over about `wavelength` pixels."""
    (row, down), (column, across) = (_steps(places, wavelength) for places in (block.rows[:, 0], block.columns[0]))
    nodes = 2 * uniform(of, np.arange(row[0], row[-1] + 2)[:, None], np.arange(column[0], column[-1] + 2)[None, :]) - 1
    row, column = row - row[0], column - column[0]
    lines = nodes[row] * (1 - down)[:, None] + nodes[row + 1] * down[:, None]
    return np.asarray(lines[:, column] * (1 - across) + lines[:, column + 1] * across, dtype=np.float32)


def _steps(places: Whole, wavelength: float) -> tuple[Whole, Field]:
    """The node before each place, and the smoothed position of the place between it and the next one, 0..1."""
    node = np.floor(places / wavelength)
    share = places / wavelength - node
    return node.astype(np.int64), (share * share * (3 - 2 * share)).astype(np.float32)


class Mosaic:
    """A Voronoi mosaic of the plane: one random seed point in every square of a lattice, one cell around every seed.

    A cell is identified by the row and column of its square.

    Args:
        of: the key.
        spacing: size of the squares in pixels.
    """

    def __init__(self, of: np.uint64, spacing: float) -> None:
        self.key = of
        self.spacing = spacing

    def seeds(self, cells: Whole) -> NDArray[np.float64]:
        """Places [2, ...] of the seeds of `cells` [2, ...]: row and column in pixels."""
        bits = hashes(self.key, cells[0], cells[1])
        halves = np.stack([bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)]) / 2**32
        return np.asarray((cells + _MARGIN + (1 - 2 * _MARGIN) * halves) * self.spacing)

    def around(self, places: NDArray[np.float64] | Whole) -> Whole:
        """The cells [2, P] that contain `places` [2, P]."""
        square = np.floor(places / self.spacing).astype(np.int64)
        near = square[:, None] + np.indices((3, 3)).reshape(2, 9, 1) - 1
        distance = ((self.seeds(near) - places[:, None]) ** 2).sum(axis=0)
        cells: Whole = near[:, distance.argmin(axis=0), np.arange(places.shape[1])]
        return cells

    def of(self, block: Block) -> tuple[Whole, NDArray[np.int32]]:
        """Cells [2, N] that may overlap a block, and the index among them of the cell of each pixel [height, width]."""
        corners = np.array([(block.top, block.top + block.height - 1), (block.left, block.left + block.width - 1)])
        (first, last), (left, right) = np.floor(corners / self.spacing).astype(np.int64)
        cells = np.mgrid[first - 1 : last + 2, left - 1 : right + 2].reshape(2, -1)
        nearest = np.full((block.height, block.width), np.inf)
        owner = np.zeros((block.height, block.width), dtype=np.int32)
        for number, (cell, seed) in enumerate(zip(cells.T, self.seeds(cells).T, strict=True)):
            low, high = np.ceil((cell - 1) * self.spacing), np.ceil((cell + 2) * self.spacing)
            reach = np.clip((low, high) - corners[:, 0], 0, (block.height, block.width)).astype(np.int64)
            part = slice(*reach[:, 0]), slice(*reach[:, 1])
            distance = (block.rows[part[0]] - seed[0]) ** 2 + (block.columns[:, part[1]] - seed[1]) ** 2
            closer = distance < nearest[part]
            np.copyto(nearest[part], distance, where=closer)
            np.copyto(owner[part], number, where=closer)
        return cells, owner
