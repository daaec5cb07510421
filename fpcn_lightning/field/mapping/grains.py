"""Grains: connected places of one class, and their shapes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import label

from fpcn_lightning.field.mapping.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.results import Row

_LENGTHS = ("centroid_x", "centroid_y", "left", "top", "right", "bottom", "diameter", "major_axis", "minor_axis")
COLUMNS = (
    *("grain", "class", "area_um2", "area_px"),
    *(f"{name}_{unit}" for unit in ("um", "px") for name in _LENGTHS),
    *("orientation_degrees", "confidence_percent", "touches_border", "below_resolution"),
)


@dataclass(frozen=True)
class Grains:
    """G grains, the largest first. All lengths are in pixels of the section, areas in square pixels.

    Attributes:
        code: uint8 [G], of the class.
        area: float64 [G].
        y, x: float64 [G], the centroid, from the upper left corner of the section.
        top, left, bottom, right: int64 [G], the bounding box, whose last row and column are outside.
        major, minor: float64 [G], axes of the ellipse with the same second moments.
        orientation: float64 [G], degrees from -90 to 90, counter-clockwise from the section's rows to the major axis.
        confidence: float64 [G], mean in percent.
        cut: bool [G], whether the grain lies at the border of the section or beside a place without data, so that
            it may go on there.
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

    def __len__(self) -> int:
        return len(self.code)

    @property
    def diameter(self) -> NDArray[np.float64]:
        """float64 [G], of the circle with the same area."""
        return 2 * np.sqrt(self.area / np.pi)


def find_grains(found: ClassMap) -> Grains:
    """Find the grains: cells of one class that touch, at a corner at least, belong together.

    Moments are summed over all grains at once, as scikit-image takes a millisecond for each of them.
    """
    labels, count = label(found.codes, background=NO_DATA, return_num=True, connectivity=2)  # type: ignore[no-untyped-call]
    boxes = _boxes(find_objects(labels))
    area, y, x, yy, xx, yx, confidence = _moments(found, labels, count)
    spread, covariance = (yy + xx) / 2, -yx  # rows count downwards, angles are taken with y upwards
    length = np.hypot((xx - yy) / 2, covariance)
    code = np.zeros(count + 1, np.uint8)
    code[labels] = found.codes
    order = np.argsort(-area, kind="stable")
    rows, columns = found.row_edges, found.column_edges
    return Grains(
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
    )


def grain_rows(found: ClassMap, grains: Grains, resolution: float) -> Iterator[Row]:
    """A row with `COLUMNS` for each grain; `below_resolution` tells diameters below `resolution`, in pixels."""
    diameters, scale = grains.diameter, found.micrometres_per_pixel
    corners = grains.left, grains.top, grains.right, grains.bottom
    lengths = (grains.x, grains.y, *corners, diameters, grains.major, grains.minor)
    for place, area in enumerate(grains.area):
        sizes = [length[place].item() for length in lengths]
        cells = (
            *(place + 1, found.classes[grains.code[place]]),
            *(None if scale is None else float(area * scale**2), int(area)),
            *(None if scale is None else size * scale for size in sizes),
            *sizes,
            *(float(grains.orientation[place]), float(grains.confidence[place])),
            *(bool(grains.cut[place]), bool(diameters[place] < resolution)),
        )
        yield dict(zip(COLUMNS, cells, strict=True))


def _moments(found: ClassMap, labels: NDArray[np.int64], count: int) -> tuple[NDArray[np.float64], ...]:
    """Of each grain: area, mean y, mean x, variance of y, of x, covariance, mean confidence."""
    sums = np.zeros((7, count + 1))
    (ys, heights), (xs, widths) = _middles(found.row_edges), _middles(found.column_edges)
    for rows in found.bands:
        numbers, area = labels[rows].ravel(), np.outer(heights[rows], widths).astype(np.float64)
        y, x = ys[rows, None], xs[None]
        # A cell is a small rectangle, no point: its own second moment is a twelfth of its side squared.
        yy, xx = y**2 + heights[rows, None] ** 2 / 12, x**2 + widths**2 / 12
        weighed = (area, area * y, area * x, area * yy, area * xx, area * y * x, area * found.confidence[rows])
        for total, values in zip(sums, weighed, strict=True):
            total += np.bincount(numbers, values.ravel(), count + 1)
    area = sums[0, 1:]
    mean_y, mean_x, yy, xx, yx, confidence = sums[1:, 1:] / area
    return area, mean_y, mean_x, yy - mean_y**2, xx - mean_x**2, yx - mean_y * mean_x, confidence


def _middles(edges: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


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
