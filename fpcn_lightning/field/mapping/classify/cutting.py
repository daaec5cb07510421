"""The windows of a section as the network takes them: read, mirrored at the border, resized."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.field.mapping.classify.grid import Box, CellGrid, WindowChunk, WindowGrid
from fpcn_lightning.field.mapping.read.pyramid import Edges, ReducedSection, filled
from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.mapping.read.tiff import Pixels

MIN_KNOWN_SHARE = 0.5  # of the part that a window or cell stands for: below it, it has no data


class CutWindows(NamedTuple):
    """The windows of a chunk.

    Attributes:
        chunk: which windows.
        selected: bool [N], the windows with enough known pixels in the part that they stand for.
        views: uint8 [M, S, S, 3], the M selected windows as input of the network.
        cells: rows and columns of the cells whose centres are in the parts of the windows.
        coverage: bool [h, w], which of these cells have enough known pixels.
    """

    chunk: WindowChunk
    selected: NDArray[np.bool_]
    views: Pixels
    cells: tuple[slice, slice]
    coverage: NDArray[np.bool_]


class RectangleGrid(NamedTuple):
    """A grid of R x C rectangles, none of them empty.

    Attributes:
        tops: first row of each row of rectangles, [R].
        bottoms: the row below its last one, [R].
        lefts: first column of each column of rectangles, [C].
        rights: the column after its last one, [C].
    """

    tops: Edges
    bottoms: Edges
    lefts: Edges
    rights: Edges

    def moved(self, down: int, right: int) -> "RectangleGrid":
        """The same rectangles, moved."""
        return RectangleGrid(self.tops + down, self.bottoms + down, self.lefts + right, self.rights + right)


class WindowCutter:
    """Cuts windows out of a section; thread-safe.

    Windows are resized to the input size of the network with the filter of training, and left as they are if they have
    that size. Beyond the border, they show the mirrored section.

    Args:
        section: to be cut.
        windows: where.
        cells: whose coverage is computed along the way.
        view_size: of the network's input, pixels.
    """

    def __init__(self, section: SectionFile, windows: WindowGrid, cells: CellGrid, view_size: int) -> None:
        self._windows = windows
        self._cells = cells
        self._view_size = view_size
        self._source = ReducedSection(section, windows.size / view_size)

    def cut(self, chunk: WindowChunk) -> CutWindows:
        """Read and cut a chunk."""
        parts = [self._windows.part(chunk.row, column) for column in chunk.columns]
        boxes = [self._source_box(chunk.row, column) for column in chunk.columns]
        part_grid = self._rectangles(
            [parts[0].top], [parts[0].bottom], [part.left for part in parts], [part.right for part in parts]
        )
        rows = self._cells.centred_in(parts[0].top, parts[0].bottom, self._windows.height)
        columns = self._cells.centred_in(parts[0].left, parts[-1].right, self._windows.width)
        cell_grid = self._cell_rectangles(rows, columns)
        area = self._bounding_box(boxes, part_grid, cell_grid)
        pixels, known = self._source.read(*area)
        selected = known_shares(known, part_grid.moved(-area.top, -area.left))[0] >= MIN_KNOWN_SHARE
        views = [self._view(pixels, known, area, box) for box, wanted in zip(boxes, selected, strict=True) if wanted]
        return CutWindows(
            chunk=chunk,
            selected=selected,
            views=np.stack(views) if views else np.empty((0, self._view_size, self._view_size, 3), np.uint8),
            cells=(slice(rows.start, rows.stop), slice(columns.start, columns.stop)),
            coverage=known_shares(known, cell_grid.moved(-area.top, -area.left)) >= MIN_KNOWN_SHARE,
        )

    def fingerprint(self, row: int) -> bytes:
        """SHA-256 of what the file has where the windows of a row are cut."""
        part, box = self._windows.part(row, 0), self._source_box(row, 0)
        rows = self._cells.centred_in(part.top, part.bottom, self._windows.height)
        part_grid = self._rectangles([part.top], [part.bottom], [part.left], [part.right])
        area = self._bounding_box([box], part_grid, self._cell_rectangles(rows, range(1)))
        return self._source.fingerprint(area.top, area.bottom)

    def _source_box(self, row: int, column: int) -> Box:
        """What a window sees, in pixels of the reduced section."""
        box, size = self._windows.box(row, column), self._source.length(self._windows.size)
        top, left = round(box.top / self._source.scale), round(box.left / self._source.scale)
        return Box(top, left, top + size, left + size)

    def _rectangles(self, tops: list[int], bottoms: list[int], lefts: list[int], rights: list[int]) -> RectangleGrid:
        source = self._source
        return RectangleGrid(*source.edges(tops, bottoms, source.height), *source.edges(lefts, rights, source.width))

    def _cell_rectangles(self, rows: range, columns: range) -> RectangleGrid:
        size = self._cells.size
        tops, lefts = [row * size for row in rows], [column * size for column in columns]
        return self._rectangles(tops, [top + size for top in tops], lefts, [left + size for left in lefts])

    def _bounding_box(self, boxes: list[Box], *grids: RectangleGrid) -> Box:
        """The smallest part of the reduced section that includes all boxes and grids."""
        tops, bottoms, lefts, rights = map(np.concatenate, zip(*grids, strict=True))
        return Box(
            max(0, min(boxes[0].top, tops.min())),
            max(0, min(boxes[0].left, lefts.min())),
            min(self._source.height, max(boxes[0].bottom, bottoms.max())),
            min(self._source.width, max(boxes[-1].right, rights.max())),
        )

    def _view(self, pixels: Pixels, known: NDArray[np.bool_], area: Box, box: Box) -> Pixels:
        top, left = max(box.top, area.top), max(box.left, area.left)
        bottom, right = min(box.bottom, area.bottom), min(box.right, area.right)
        inside = slice(top - area.top, bottom - area.top), slice(left - area.left, right - area.left)
        view = filled(pixels[inside], known[inside])
        margins = (top - box.top, box.bottom - bottom), (left - box.left, box.right - right), (0, 0)
        if np.any(margins):
            view = np.pad(view, margins, "symmetric")
        if len(view) == self._view_size:
            return view
        size = self._view_size, self._view_size
        return np.asarray(Image.fromarray(view).resize(size, Image.Resampling.BILINEAR))


def known_shares(known: NDArray[np.bool_], rectangles: RectangleGrid) -> NDArray[np.float32]:
    """The share of known pixels in each rectangle, by a summed-area table (Crow, SIGGRAPH 1984).

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
