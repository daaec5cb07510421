"""Windows of a section as the network takes them: read, mirrored at the border, resized."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.field.mapping.cells import Cells
from fpcn_lightning.field.mapping.sections import SectionFile
from fpcn_lightning.field.mapping.segments import Pixels
from fpcn_lightning.field.mapping.shares import Rectangles, known_shares
from fpcn_lightning.field.mapping.shrunk import Shrunk, filled
from fpcn_lightning.field.mapping.windows import Box, Windows

LEAST_SHARE = 0.5  # of the part that a window stands for, which must be known for the network to be asked


class Chunk(NamedTuple):
    """Neighbouring windows of a row."""

    row: int
    columns: range


class Cut(NamedTuple):
    """The windows of a chunk.

    Attributes:
        chunk: which windows.
        asked: bool [N], where enough is known of the part that each stands for.
        views: uint8 [M, S, S, 3], of those M that are to be asked.
        cells: rows and columns of the cells whose middle lies in the windows' parts.
        coverage: bool [h, w], which of these are known for the better part.
    """

    chunk: Chunk
    asked: NDArray[np.bool_]
    views: Pixels
    cells: tuple[slice, slice]
    coverage: NDArray[np.bool_]


class Cutter:
    """Cuts windows out of a section; may be used from several threads.

    Windows are brought to the network's side with the filter of training, and not touched where they have that side.
    What hangs over the border is the mirrored section.

    Args:
        section: to be cut.
        windows: where.
        cells: whose coverage is looked at on the way.
        side: of the network's views, pixels.
    """

    def __init__(self, section: SectionFile, windows: Windows, cells: Cells, side: int) -> None:
        self._windows = windows
        self._cells = cells
        self._side = side
        self._source = Shrunk(section, windows.side / side)

    def chunks(self, row: int, most: int) -> Iterator[Chunk]:
        """A row of windows in chunks of at most so many."""
        columns = self._windows.columns
        return (Chunk(row, range(first, min(first + most, columns))) for first in range(0, columns, most))

    def cut(self, chunk: Chunk) -> Cut:
        """Read and cut a chunk."""
        parts = [self._windows.part(chunk.row, column) for column in chunk.columns]
        seen = [self._seen(chunk.row, column) for column in chunk.columns]
        standing = self._rectangles(
            [parts[0].top], [parts[0].bottom], [p.left for p in parts], [p.right for p in parts]
        )
        rows = self._cells.standing_in(parts[0].top, parts[0].bottom, self._windows.height)
        columns = self._cells.standing_in(parts[0].left, parts[-1].right, self._windows.width)
        covered = self._cell_rectangles(rows, columns)
        read = self._around(seen, standing, covered)
        pixels, known = self._source.read(read)
        asked = known_shares(known, standing.moved(-read.top, -read.left))[0] >= LEAST_SHARE
        views = [self._view(pixels, known, read, box) for box, ask in zip(seen, asked, strict=True) if ask]
        return Cut(
            chunk=chunk,
            asked=asked,
            views=np.stack(views) if views else np.empty((0, self._side, self._side, 3), np.uint8),
            cells=(slice(rows.start, rows.stop), slice(columns.start, columns.stop)),
            coverage=known_shares(known, covered.moved(-read.top, -read.left)) >= LEAST_SHARE,
        )

    def _seen(self, row: int, column: int) -> Box:
        """What a window sees, in pixels of the source."""
        box, side = self._windows.box(row, column), self._source.length(self._windows.side)
        top, left = round(box.top / self._source.scale), round(box.left / self._source.scale)
        return Box(top, left, top + side, left + side)

    def _rectangles(self, tops: list[int], bottoms: list[int], lefts: list[int], rights: list[int]) -> Rectangles:
        source = self._source
        return Rectangles(*source.edges(tops, bottoms, source.height), *source.edges(lefts, rights, source.width))

    def _cell_rectangles(self, rows: range, columns: range) -> Rectangles:
        side = self._cells.side
        tops, lefts = [row * side for row in rows], [column * side for column in columns]
        return self._rectangles(tops, [top + side for top in tops], lefts, [left + side for left in lefts])

    def _around(self, seen: list[Box], *grids: Rectangles) -> Box:
        """The part of the source that holds all of it that is asked for."""
        tops, bottoms, lefts, rights = map(np.concatenate, zip(*grids, strict=True))
        return Box(
            max(0, min(seen[0].top, tops.min())),
            max(0, min(seen[0].left, lefts.min())),
            min(self._source.height, max(seen[0].bottom, bottoms.max())),
            min(self._source.width, max(seen[-1].right, rights.max())),
        )

    def _view(self, pixels: Pixels, known: NDArray[np.bool_], read: Box, box: Box) -> Pixels:
        top, left = max(box.top, read.top), max(box.left, read.left)
        bottom, right = min(box.bottom, read.bottom), min(box.right, read.right)
        inside = slice(top - read.top, bottom - read.top), slice(left - read.left, right - read.left)
        view = filled(pixels[inside], known[inside])
        margins = (top - box.top, box.bottom - bottom), (left - box.left, box.right - right), (0, 0)
        if np.any(margins):
            view = np.pad(view, margins, "symmetric")
        if len(view) == self._side:
            return view
        return np.asarray(Image.fromarray(view).resize((self._side, self._side), Image.Resampling.BILINEAR))
