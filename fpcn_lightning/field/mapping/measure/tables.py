"""The tables of a map: the area of each class, the contacts between classes, and those of the grains."""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.mapping.measure.corrected_areas import corrected_shares, independent_regions
from fpcn_lightning.field.mapping.measure.grains import MeasuredGrains, find_grains, size_rows
from fpcn_lightning.field.mapping.measure.palette import class_colours, hexadecimal
from fpcn_lightning.field.results import TableRow

AREA_COLUMNS = (
    *("class", "code", "colour", "area_mm2", "area_px", "percent", "percent_corrected", "corrected_low"),
    *("corrected_high", "percent_of_section", "percent_unfamiliar", "grains", "grains_resolved"),
    *("median_diameter_um", "median_diameter_px", "weighted_diameter_um", "weighted_diameter_px"),
)
CONTACT_COLUMNS = ("class_1", "class_2", "length_mm", "length_px", "percent_of_class_1", "percent_of_class_2")
NO_DATA_NAME = "(no data)"


class MapMeasurements(NamedTuple):
    """The grains of a map, and the rows of its tables of areas, contacts and grain sizes."""

    grains: MeasuredGrains
    areas: list[TableRow]
    contacts: list[TableRow]
    grain_sizes: list[TableRow]


def measure(class_map: ClassMap, resolution: int, confusion: NDArray[np.float64] | None) -> MapMeasurements:
    """Measure a map.

    Args:
        class_map: the map.
        resolution: pixels of the section; grains with a diameter below it are not reliable.
        confusion: [C, C], of single windows of test pictures by true and predicted class; None if not measured.
    """
    grains = find_grains(class_map)
    areas = area_rows(class_map, grains, resolution, confusion)
    return MapMeasurements(grains, areas, contact_rows(class_map), size_rows(class_map, grains))


def area_rows(
    class_map: ClassMap, grains: MeasuredGrains, resolution: float, confusion: NDArray[np.float64] | None = None
) -> list[TableRow]:
    """A row with `AREA_COLUMNS` for each class, in the order of the codes, and one for the area without data.

    - `percent` of the area with data, as the map shows it; `percent_of_section` of the whole section.
    - `percent_corrected`: of the area with data, corrected for the confusions of the network, with its 95 % interval,
      `corrected_low` to `corrected_high` (`fpcn_lightning.field.mapping.measure.corrected_areas`); None where these
      were not measured.
    - `percent_unfamiliar`: of the class's area that looks unlike the pictures of the training.
    - `grains`, and of them `grains_resolved`, with an equivalent diameter of at least `resolution` pixels. The
      diameters are of these alone: their median, and their mean weighted by area.
    """
    areas, unfamiliar, by_hand = _areas_by_code(class_map)
    known, section = areas[:NO_DATA].sum(), areas.sum()
    colours = class_colours(len(class_map.classes))
    of_classes = slice(len(class_map.classes))
    corrected_rows = _corrected(areas[of_classes], by_hand[of_classes], grains, confusion)
    rows = []
    for code, (name, corrected) in enumerate(zip(class_map.classes, corrected_rows, strict=True)):
        cells = (
            *(name, code, hexadecimal(colours[code]), _square_millimetres(class_map, areas[code]), int(areas[code])),
            *(_percent(areas[code], known), *corrected),
            *(_percent(areas[code], section), _percent(unfamiliar[code], areas[code])),
            *_grain_cells(class_map, grains, code, resolution),
        )
        rows.append(dict(zip(AREA_COLUMNS, cells, strict=True)))
    rows.append(
        dict.fromkeys(AREA_COLUMNS)
        | {"class": NO_DATA_NAME, "code": NO_DATA, "colour": hexadecimal(colours[NO_DATA])}
        | {"area_mm2": _square_millimetres(class_map, areas[NO_DATA]), "area_px": int(areas[NO_DATA])}
        | {"percent_of_section": _percent(areas[NO_DATA], section)}
    )
    return rows


def contact_lengths(class_map: ClassMap) -> NDArray[np.float64]:
    """Estimate the length of contact between each pair of classes.

    Crofton's formula: a curve of length L is crossed 2 L / (pi d) times by parallel lines at a distance d, on average
    over their directions. The lines run along rows, columns and both diagonals of cells. A straight contact is
    underestimated by up to 5 % if it runs along one of the four directions, and overestimated by up to 3 % between
    them; contacts that run in all directions are right on average. The result is the same as half of
    P(a) + P(b) - P(a or b), where P is the perimeter by `skimage.measure.perimeter_crofton`, but for all pairs at once.
    Borders of the section and of places without data are no contacts.

    Returns:
        float64 [C, C], symmetric, 0 on the diagonal, in pixels of the section.
    """
    count = len(class_map.classes) + 1
    codes = np.where(class_map.codes == NO_DATA, count - 1, class_map.codes)
    crossings = np.zeros((count, count))
    for rows in class_map.bands:
        upper, lower = codes[rows], codes[rows.start + 1 : rows.stop + 1]
        crossings += _count_pairs(upper[:, :-1], upper[:, 1:], count)
        upper = upper[: len(lower)]
        crossings += _count_pairs(upper, lower, count)
        diagonal = _count_pairs(upper[:, :-1], lower[:, 1:], count) + _count_pairs(upper[:, 1:], lower[:, :-1], count)
        crossings += diagonal / np.sqrt(2)  # lines along the diagonals are closer together
    crossings += crossings.T
    np.fill_diagonal(crossings, 0)
    return np.pi / 8 * class_map.cell * crossings[:-1, :-1]


def contact_rows(class_map: ClassMap) -> list[TableRow]:
    """A row with `CONTACT_COLUMNS` for each pair of classes that touch, the longest contact first.

    The percentages of a class are of all its contacts with other classes.
    """
    lengths = contact_lengths(class_map)
    totals = lengths.sum(axis=1)
    pairs = [pair for pair in combinations(range(len(totals)), 2) if lengths[pair] > 0]
    rows: list[TableRow] = []
    for one, other in sorted(pairs, key=lambda pair: -lengths[pair]):
        length = float(lengths[one, other])
        percents = (float(100 * length / totals[code]) for code in (one, other))
        names = class_map.classes[one], class_map.classes[other]
        scale = class_map.micrometres_per_pixel
        millimetres = None if scale is None else length * scale / 1000
        rows.append(dict(zip(CONTACT_COLUMNS, (*names, millimetres, length, *percents), strict=True)))
    return rows


def _corrected(
    areas: NDArray[np.float64],
    by_hand: NDArray[np.float64],
    grains: MeasuredGrains,
    confusion: NDArray[np.float64] | None,
) -> list[tuple[float, float, float] | tuple[None, None, None]]:
    """Of each class, with `areas` [C], the corrected percent of the area with data, and its interval.

    What was classified by hand is taken as it is.
    """
    found, by_network = None, areas - by_hand
    if confusion is not None and by_network.any():
        found = corrected_shares(by_network / by_network.sum(), confusion, independent_regions(grains.area))
    if found is None:
        return [(None, None, None)] * len(areas)
    percents = 100 * (np.array(found) * by_network.sum() + by_hand[:, None]) / areas.sum()
    return [(float(value), float(low), float(high)) for value, low, high in percents]


def _areas_by_code(class_map: ClassMap) -> NDArray[np.float64]:
    """Float64 [3, 256]: square pixels of each code, of those that look unfamiliar, and of those classified by hand."""
    heights, widths = np.diff(class_map.row_edges), np.diff(class_map.column_edges)
    areas = np.zeros((3, NO_DATA + 1))
    for rows in class_map.bands:
        codes, pixels = class_map.codes[rows].ravel(), np.outer(heights[rows], widths).ravel()
        weights = pixels, pixels * class_map.unfamiliar[rows].ravel(), pixels * class_map.by_hand[rows].ravel()
        areas += [np.bincount(codes, weight, NO_DATA + 1) for weight in weights]
    return areas


def _grain_cells(class_map: ClassMap, grains: MeasuredGrains, code: int, resolution: float) -> tuple[float | None, ...]:
    of_class = grains.code == code
    resolved = of_class & (grains.diameter >= resolution)
    diameters, counts = grains.diameter[resolved], (int(of_class.sum()), int(resolved.sum()))
    if not len(diameters):
        return (*counts, None, None, None, None)
    pixels = float(np.median(diameters)), float(np.average(diameters, weights=grains.area[resolved]))
    scale = class_map.micrometres_per_pixel
    return (*counts, *(number for length in pixels for number in (None if scale is None else length * scale, length)))


def _square_millimetres(class_map: ClassMap, pixels: float) -> float | None:
    scale = class_map.micrometres_per_pixel
    return None if scale is None else float(pixels * (scale / 1000) ** 2)


def _percent(part: float, whole: float) -> float | None:
    return float(100 * part / whole) if whole else None


def _count_pairs(one: NDArray[np.uint8], other: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """int64 [count, count], how often each code of `one` is next to each code of `other`."""
    return np.bincount((one.astype(np.intp) * count + other).ravel(), minlength=count**2).reshape(count, count)
