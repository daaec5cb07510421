"""How much of a section is what."""

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.mapping.grains import Grains
from fpcn_lightning.field.mapping.palette import colours, hexadecimal
from fpcn_lightning.field.results import Row

COLUMNS = (
    *("class", "code", "colour", "area_mm2", "area_px", "percent", "percent_low", "percent_high", "percent_expected"),
    *("percent_of_section", "percent_unfamiliar", "grains", "grains_resolved"),
    *("median_diameter_um", "median_diameter_px", "weighted_diameter_um", "weighted_diameter_px"),
)
NO_DATA_NAME = "(no data)"

_NINETY_FIVE = 1.96  # standard deviations to both sides of a normal distribution that hold 95 % of it


def area_rows(found: ClassMap, grains: Grains, resolution: float) -> list[Row]:
    """A row with `COLUMNS` for each class, in the order of the codes, and one for what shows no data.

    - `percent` of the area with data, as the map shows it; `percent_of_section` of the whole section.
    - `percent_expected`: the mean of the calibrated probability. It and `percent` are two estimates of one area, and
      part where the network errs in one direction, as it does along boundaries: `percent_low` and `percent_high` lie
      1.96 standard deviations below the lower and above the higher one. See
      `fpcn_lightning.field.mapping.class_map.class_map` for what a standard deviation covers and what not.
    - `percent_unfamiliar`: of the class's area that looks unlike the training pictures.
    - `grains`, and of them `grains_resolved`, with an equivalent diameter of `resolution` pixels at least. The
      diameters are of these alone: their median, and their mean weighted by area.
    """
    areas, unfamiliar = _areas(found)
    known, section = areas[:NO_DATA].sum(), areas.sum()
    table = colours(len(found.classes))
    rows = []
    for code, (name, share) in enumerate(zip(found.classes, found.shares, strict=True)):
        bounds = _bounds(_percent(areas[code], known) or 0.0, 100 * share.expected, 100 * share.deviation)
        cells = (
            *(name, code, hexadecimal(table[code]), _square_millimetres(found, areas[code]), int(areas[code])),
            *(_percent(areas[code], known), *((*bounds, 100 * share.expected) if known else (None, None, None))),
            *(_percent(areas[code], section), _percent(unfamiliar[code], areas[code])),
            *_grain_cells(found, grains, code, resolution),
        )
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    rows.append(
        dict.fromkeys(COLUMNS)
        | {"class": NO_DATA_NAME, "code": NO_DATA, "colour": hexadecimal(table[NO_DATA])}
        | {"area_mm2": _square_millimetres(found, areas[NO_DATA]), "area_px": int(areas[NO_DATA])}
        | {"percent_of_section": _percent(areas[NO_DATA], section)}
    )
    return rows


def _bounds(counted: float, expected: float, deviation: float) -> tuple[float, float]:
    """Both ends of the interval, in percent."""
    reach = _NINETY_FIVE * deviation
    return max(0.0, min(counted, expected) - reach), min(100.0, max(counted, expected) + reach)


def _areas(found: ClassMap) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Float64 [256] each: square pixels of each code, and of those that look unfamiliar."""
    heights, widths = np.diff(found.row_edges), np.diff(found.column_edges)
    areas, unfamiliar = np.zeros(NO_DATA + 1), np.zeros(NO_DATA + 1)
    for rows in found.bands:
        codes, pixels = found.codes[rows].ravel(), np.outer(heights[rows], widths).ravel()
        areas += np.bincount(codes, pixels, NO_DATA + 1)
        unfamiliar += np.bincount(codes, pixels * found.unfamiliar[rows].ravel(), NO_DATA + 1)
    return areas, unfamiliar


def _grain_cells(found: ClassMap, grains: Grains, code: int, resolution: float) -> tuple[float | None, ...]:
    mine = grains.code == code
    resolved = mine & (grains.diameter >= resolution)
    diameters, counts = grains.diameter[resolved], (int(mine.sum()), int(resolved.sum()))
    if not len(diameters):
        return (*counts, None, None, None, None)
    pixels = float(np.median(diameters)), float(np.average(diameters, weights=grains.area[resolved]))
    scale = found.micrometres_per_pixel
    return (*counts, *(number for length in pixels for number in (None if scale is None else length * scale, length)))


def _square_millimetres(found: ClassMap, pixels: float) -> float | None:
    return None if found.micrometres_per_pixel is None else float(pixels * (found.micrometres_per_pixel / 1000) ** 2)


def _percent(part: float, whole: float) -> float | None:
    return float(100 * part / whole) if whole else None
