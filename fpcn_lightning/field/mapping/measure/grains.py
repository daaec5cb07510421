"""Grains: connected cells of one class, their shapes and sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap, centres
from fpcn_lightning.field.results import TableRow

_LENGTHS = ("centroid_x", "centroid_y", "left", "top", "right", "bottom", "diameter", "major_axis", "minor_axis")
GRAIN_COLUMNS = (
    *("grain", "class", "area_um2", "area_px"),
    *(f"{name}_{unit}" for unit in ("um", "px") for name in _LENGTHS),
    *("orientation_degrees", "confidence_percent", "touches_border", "below_resolution"),
)
SIZE_COLUMNS = ("class", "unit", "diameter_from", "diameter_to", "grains", "area_percent")

_BINS_PER_DOUBLING = 2  # half a phi, as sieves are graded


@dataclass(frozen=True)
class MeasuredGrains:
    """G grains, the largest first. All lengths are in pixels of the section, areas in square pixels.

    Attributes:
        code: uint8 [G], of the class.
        area: float64 [G].
        y, x: float64 [G], the centroid, from the upper left corner of the section.
        top, left, bottom, right: int64 [G], the bounding box, whose last row and column are outside.
        major, minor: float64 [G], axes of the ellipse with the same second moments.
        orientation: float64 [G], degrees from -90 to 90, counter-clockwise from the section's rows to the major axis.
        confidence: float64 [G], mean in percent.
        cut: bool [G], whether the grain is at the border of the section or next to a place without data, so that it
            may be larger than measured.
        labels: int64 [rows, columns], of each cell the number of its grain, counted from 1 in this order; 0 without
            data.
    """

    code: NDArray[np.uint8]
    area: NDArray[np.float64]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    top: NDArray[np.int64]
    left: NDArray[np.int64]
    bottom: NDArray[np.int64]
    right: NDArray[np.int64]
    major: NDArray[np.float64]
    minor: NDArray[np.float64]
    orientation: NDArray[np.float64]
    confidence: NDArray[np.float64]
    cut: NDArray[np.bool_]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.code)

    @property
    def diameter(self) -> NDArray[np.float64]:
        """float64 [G], of the circle with the same area."""
        return 2 * np.sqrt(self.area / np.pi)


def find_grains(class_map: ClassMap) -> MeasuredGrains:
    """Find the grains: cells of one class that touch at an edge or a corner belong together.

    Moments are summed over all grains at once, since scikit-image takes a millisecond for each grain.
    """
    labels, count = label(class_map.codes, background=NO_DATA, return_num=True, connectivity=2)  # type: ignore[no-untyped-call]
    boxes = _boxes(find_objects(labels))
    area, y, x, yy, xx, yx, confidence = _moments(class_map, labels, count)
    spread, covariance = (yy + xx) / 2, -yx  # rows count downwards, angles are measured with y upwards
    length = np.hypot((xx - yy) / 2, covariance)
    code = np.zeros(count + 1, np.uint8)
    code[labels] = class_map.codes
    order = np.argsort(-area, kind="stable")
    rows, columns = class_map.row_edges, class_map.column_edges
    numbers = np.zeros(count + 1, np.int64)
    numbers[1 + order] = np.arange(1, count + 1)
    return MeasuredGrains(
        code=code[1:][order],
        area=area[order],
        y=y[order],
        x=x[order],
        top=rows[boxes[order, 0]],
        left=columns[boxes[order, 1]],
        bottom=rows[boxes[order, 2]],
        right=columns[boxes[order, 3]],
        major=4 * np.sqrt(spread + length)[order],
        minor=4 * np.sqrt(np.maximum(spread - length, 0))[order],
        orientation=np.degrees(np.arctan2(2 * covariance, xx - yy) / 2)[order],
        confidence=confidence[order],
        cut=_cut(labels, count)[order],
        labels=numbers[labels],
    )


def grain_rows(class_map: ClassMap, grains: MeasuredGrains, resolution: float) -> Iterator[TableRow]:
    """A row with `GRAIN_COLUMNS` for each grain; `below_resolution`: its diameter is below `resolution`, in pixels."""
    diameters, scale = grains.diameter, class_map.micrometres_per_pixel
    corners = grains.left, grains.top, grains.right, grains.bottom
    lengths = (grains.x, grains.y, *corners, diameters, grains.major, grains.minor)
    for place, area in enumerate(grains.area):
        sizes = [length[place].item() for length in lengths]
        cells = (
            *(place + 1, class_map.classes[grains.code[place]]),
            *(None if scale is None else float(area * scale**2), int(area)),
            *(None if scale is None else size * scale for size in sizes),
            *sizes,
            *(float(grains.orientation[place]), float(grains.confidence[place])),
            *(bool(grains.cut[place]), bool(diameters[place] < resolution)),
        )
        yield dict(zip(GRAIN_COLUMNS, cells, strict=True))


def size_rows(class_map: ClassMap, grains: MeasuredGrains) -> list[TableRow]:
    """A row with `SIZE_COLUMNS` for each class and bin of equivalent diameters, over the range of the class's grains.

    Bins grow by the square root of two from 1 on, in um or, if the scale is unknown, in px. `area_percent` is of the
    area of the class.
    """
    scale = class_map.micrometres_per_pixel
    bins = np.floor(_BINS_PER_DOUBLING * np.log2(grains.diameter * (scale or 1))).astype(np.int64)
    rows: list[TableRow] = []
    for code, name in enumerate(class_map.classes):
        of_class = grains.code == code
        total = grains.area[of_class].sum()
        for number in range(bins[of_class].min(), bins[of_class].max() + 1) if of_class.any() else ():
            in_bin = of_class & (bins == number)
            edges = (float(2 ** (edge / _BINS_PER_DOUBLING)) for edge in (number, number + 1))
            percent = float(100 * grains.area[in_bin].sum() / total)
            cells = (name, "px" if scale is None else "um", *edges, int(in_bin.sum()), percent)
            rows.append(dict(zip(SIZE_COLUMNS, cells, strict=True)))
    return rows


def _moments(class_map: ClassMap, labels: NDArray[np.int64], count: int) -> tuple[NDArray[np.float64], ...]:
    """Of each grain: area, mean y, mean x, variance of y, of x, covariance, mean confidence."""
    sums = np.zeros((7, count + 1))
    ys, xs = centres(class_map.row_edges), centres(class_map.column_edges)
    heights, widths = np.diff(class_map.row_edges), np.diff(class_map.column_edges)
    for rows in class_map.bands:
        numbers, area = labels[rows].ravel(), np.outer(heights[rows], widths).astype(np.float64)
        y, x = ys[rows, None], xs[None]
        # A cell is a rectangle, not a point: its own second moment is a twelfth of its edge squared.
        yy, xx = y**2 + heights[rows, None] ** 2 / 12, x**2 + widths**2 / 12
        weighted = (area, area * y, area * x, area * yy, area * xx, area * y * x, area * class_map.confidence[rows])
        for total, values in zip(sums, weighted, strict=True):
            total += np.bincount(numbers, values.ravel(), count + 1)
    area = sums[0, 1:]
    mean_y, mean_x, yy, xx, yx, confidence = sums[1:, 1:] / area
    return area, mean_y, mean_x, yy - mean_y**2, xx - mean_x**2, yx - mean_y * mean_x, confidence


def _boxes(slices: list[Any]) -> NDArray[np.int64]:
    """int64 [G, 4]: top, left, bottom and right in cells."""
    corners = [(rows.start, columns.start, rows.stop, columns.stop) for rows, columns in slices]
    return np.array(corners, np.int64).reshape(-1, 4)


def _cut(labels: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    cut = np.zeros(count + 1, np.bool_)
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        cut[border] = True
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        cut[one[other == 0]] = True
        cut[other[one == 0]] = True
    return cut[1:]
