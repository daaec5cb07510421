"""The outlines of the grains as GeoJSON, for QuPath and QGIS."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from skimage.measure import find_contours

from fpcn_lightning.field.mapping.measure.class_map import ClassMap, centres
from fpcn_lightning.field.mapping.measure.grains import MeasuredGrains
from fpcn_lightning.field.mapping.measure.palette import class_colours

_DIGITS = 1  # of a coordinate, pixels

Rings = list[NDArray[np.float64]]


def outlines_of(class_map: ClassMap, grains: MeasuredGrains) -> list[Rings]:
    """The rings of each grain, float64 [N, 2] each, x and y in pixels of the section: the outer one, then its holes.

    They run through the middles of the edges of cells, so that they contain the centres of exactly the cells of the
    grain.
    """
    return [
        _rings(grains.labels[box] == number, box[0].start, box[1].start, class_map)
        for number, box in enumerate(find_objects(grains.labels), 1)
    ]


def write_outlines(
    path: Path, class_map: ClassMap, grains: MeasuredGrains, outlines: Sequence[Rings], *, downwards: bool
) -> None:
    """Write a feature for each grain, numbered as in `grains.csv`.

    Each has the properties `grain` and `class`, and `classification`, which QuPath reads.

    Args:
        path: the GeoJSON file. Its coordinates are pixels of the section, not longitudes and latitudes.
        class_map: the map.
        grains: of the map.
        outlines: the result of `outlines_of`.
        downwards: y grows downwards, as in QuPath; else it falls, as in QGIS for pictures without coordinates.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(_features(class_map, grains, outlines, downwards=downwards)):
            file.write(",\n" if number else "\n")
            json.dump(feature, file, ensure_ascii=False, allow_nan=False)
        file.write("\n]}\n")


def _features(
    class_map: ClassMap, grains: MeasuredGrains, outlines: Sequence[Rings], *, downwards: bool
) -> Iterator[dict[str, object]]:
    colours = class_colours(len(class_map.classes))
    for number, (code, rings) in enumerate(zip(grains.code, outlines, strict=True), 1):
        name = class_map.classes[code]
        placed = rings if downwards else [np.column_stack([ring[:, 0], 0.0 - ring[:, 1]]) for ring in rings]
        yield {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring.tolist() for ring in placed]},
            "properties": {
                "objectType": "annotation",
                "grain": number,
                "class": name,
                "classification": {"name": name, "color": colours[code].tolist()},
            },
        }


def _rings(inside: NDArray[np.bool_], top: int, left: int, class_map: ClassMap) -> Rings:
    contours = find_contours(np.pad(inside, 1).astype(np.float64), 0.5, fully_connected="high")  # type: ignore[no-untyped-call]
    found = []
    for ring in sorted(contours, key=_area, reverse=True):
        y = _pixels(ring[:, 0] - 1 + top, class_map.row_edges)  # the padding has moved the cells by one
        x = _pixels(ring[:, 1] - 1 + left, class_map.column_edges)
        found.append(np.stack([x, y], axis=1).round(_DIGITS))
    return found


def _pixels(places: NDArray[np.float64], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pixels of places in units of cells, whose centres are whole numbers; the last cell may be cropped."""
    known = np.empty(2 * len(edges) - 1)
    known[::2], known[1::2] = edges, centres(edges)
    return np.interp(places, np.arange(len(known)) / 2 - 0.5, known)


def _area(ring: NDArray[np.float64]) -> float:
    y, x = ring.T
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2
