"""Writes the maps, tables and figures of a map into its folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.measure.class_map import ClassMap
from fpcn_lightning.field.mapping.measure.grains import GRAIN_COLUMNS, SIZE_COLUMNS, grain_rows
from fpcn_lightning.field.mapping.measure.palette import class_colours
from fpcn_lightning.field.mapping.measure.tables import AREA_COLUMNS, CONTACT_COLUMNS, MapMeasurements
from fpcn_lightning.field.mapping.write import result_folder as names
from fpcn_lightning.field.mapping.write.figures import draw_overview, draw_sizes
from fpcn_lightning.field.mapping.write.outlines import outlines_of, write_outlines
from fpcn_lightning.field.mapping.write.qgis_style import qgis_style
from fpcn_lightning.field.mapping.write.rasters import write_raster
from fpcn_lightning.field.results import TableRow, csv_line
from fpcn_lightning.runs.atomic_write import atomic_write, write_text_atomically

_DIGITS = 6  # significant digits of a number in a table


def write_results(
    output: Path, class_map: ClassMap, measured: MapMeasurements, resolution: int, photograph: NDArray[np.uint8]
) -> None:
    """Write everything but the summary.

    Args:
        output: the folder.
        class_map: the map.
        measured: what was measured on it.
        resolution: smallest diameter in pixels of a grain that is resolved.
        photograph: uint8 [h, w, 3], the section at a smaller size.
    """
    for name, columns, rows in (
        (names.AREAS, AREA_COLUMNS, measured.areas),
        (names.GRAINS, GRAIN_COLUMNS, grain_rows(class_map, measured.grains, resolution)),
        (names.CONTACTS, CONTACT_COLUMNS, measured.contacts),
        (names.GRAIN_SIZES, SIZE_COLUMNS, measured.grain_sizes),
    ):
        with atomic_write(output / name) as path:
            write_table(path, columns, rows)
    with atomic_write(output / names.CLASS_MAP) as path:
        write_raster(path, class_map, class_map.codes, class_colours(len(class_map.classes)))
    with atomic_write(output / names.CONFIDENCE_MAP) as path:
        write_raster(path, class_map, class_map.confidence)
    outlines = outlines_of(class_map, measured.grains)
    for name, downwards in ((names.OUTLINES, True), (names.OUTLINES_QGIS, False)):
        with atomic_write(output / name) as path:
            write_outlines(path, class_map, measured.grains, outlines, downwards=downwards)
    write_text_atomically(output / names.STYLE, qgis_style(class_map.classes))
    draw_overview(output / names.OVERVIEW, class_map, photograph, measured.areas)
    draw_sizes(output / names.SIZE_FIGURE, class_map, measured.grains, resolution)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[TableRow]) -> None:
    """Write rows as CSV, numbers with six significant digits, None as an empty cell."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # spreadsheets recognise UTF-8 by the mark
        file.write(csv_line(columns))
        file.writelines(csv_line(_rounded(row[column]) for column in columns) for row in rows)


def _rounded(value: object) -> object:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
