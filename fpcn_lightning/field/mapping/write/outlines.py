"""The outlines of the grains as GeoJSON, for QuPath and QGIS."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import find_contours

from fpcn_lightning.field.mapping.measure.class_map import ClassMap
from fpcn_lightning.field.mapping.measure.grains import MeasuredGrains
from fpcn_lightning.field.mapping.measure.palette import class_colours

_DIGITS = 1  # of a coordinate, pixels

Ring = list[list[float]]


def write_outlines(path: Path, class_map: ClassMap, grains: MeasuredGrains, *, downwards: bool) -> None:
    """Write a feature for each grain, numbered as in `grains.csv`.

    Outlines run through the middles of the edges of cells, so that they contain the centres of exactly the cells of the
    grain. Each feature has the properties `grain` and `class`, and `classification`, which QuPath reads.

    Args:
        path: the GeoJSON file. Its coordinates are pixels of the section, not longitudes and latitudes.
        class_map: the map.
        grains: of the map.
        downwards: y grows downwards, as in QuPath; else it falls, as in QGIS for pictures without coordinates.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(_features(class_map, grains, downwards=downwards)):
            file.write(",\n" if number else "\n")
            json.dump(feature, file, ensure_ascii=False, allow_nan=False)
        file.write("\n]}\n")


def _features(class_map: ClassMap, grains: MeasuredGrains, *, downwards: bool) -> Iterator[dict[str, object]]:
    colours = class_colours(len(class_map.classes))
    for number, (code, box) in enumerate(zip(grains.code, find_objects(grains.labels), strict=True), 1):
        name = class_map.classes[code]
        rings = _rings(grains.labels[box] == number, box[0].start, box[1].start, class_map)
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": rings if downwards else [_flipped(ring) for ring in rings]},
            "properties": {
                "objectType": "annotation",
                "grain": number,
                "class": name,
                "classification": {"name": name, "color": colours[code].tolist()},
            },
        }


def _rings(inside: NDArray[np.bool_], top: int, left: int, class_map: ClassMap) -> list[Ring]:
    """The outer ring of connected cells, then those of their holes, [x, y] in pixels of the section."""
    contours = find_contours(np.pad(inside, 1).astype(np.float64), 0.5, fully_connected="high")  # type: ignore[no-untyped-call]
    found = []
    for ring in sorted(contours, key=_area, reverse=True):
        y = _pixels(ring[:, 0] - 1 + top, class_map.row_edges)  # the padding has moved the cells by one
        x = _pixels(ring[:, 1] - 1 + left, class_map.column_edges)
        found.append(np.stack([x, y], axis=1).round(_DIGITS).tolist())
    return found


def _pixels(places: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pixels of places in units of cells, whose centres are whole numbers; the last cell may be cropped."""
    known = np.empty(2 * len(edges) - 1)
    known[::2], known[1::2] = edges, (edges[1:] + edges[:-1]) / 2
    return np.interp(places, np.arange(len(known)) / 2 - 0.5, known)


def _area(ring: NDArray[np.float64]) -> float:
    y, x = ring.T
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def _flipped(ring: Ring) -> Ring:
    return [[x, 0.0 if y == 0 else -y] for x, y in ring]
