"""What is measured on a map, and the files that hold it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping import areas, contacts, grain_sizes, result_folder
from fpcn_lightning.field.mapping import grains as grains_of
from fpcn_lightning.field.mapping.class_map import ClassMap
from fpcn_lightning.field.mapping.grains import Grains
from fpcn_lightning.field.mapping.overview import draw_overview
from fpcn_lightning.field.mapping.palette import colours
from fpcn_lightning.field.mapping.rasters import write_raster
from fpcn_lightning.field.mapping.result_folder import whole
from fpcn_lightning.field.mapping.tables import write_table
from fpcn_lightning.field.results import Row


class Measurements(NamedTuple):
    """The grains of a map, and the rows of its tables."""

    grains: Grains
    areas: list[Row]
    contacts: list[Row]
    grain_sizes: list[Row]


def measure(found: ClassMap, resolution: int) -> Measurements:
    """Measure a map; grains below `resolution`, a diameter in pixels of the section, are not to be trusted."""
    grains = grains_of.find_grains(found)
    return Measurements(
        grains,
        areas.area_rows(found, grains, resolution),
        contacts.contact_rows(found),
        grain_sizes.size_rows(found, grains),
    )


def write_measurements(
    output: Path, found: ClassMap, measured: Measurements, resolution: int, photograph: NDArray[np.uint8]
) -> None:
    """Write maps, tables and pictures into the folder `output`; `photograph` [h, w, 3] is the section shrunk."""
    grain_rows = grains_of.grain_rows(found, measured.grains, resolution)
    for name, columns, rows in (
        (result_folder.AREAS, areas.COLUMNS, measured.areas),
        (result_folder.GRAINS, grains_of.COLUMNS, grain_rows),
        (result_folder.CONTACTS, contacts.COLUMNS, measured.contacts),
        (result_folder.GRAIN_SIZES, grain_sizes.COLUMNS, measured.grain_sizes),
    ):
        with whole(output / name) as path:
            write_table(path, columns, rows)
    with whole(output / result_folder.CLASS_MAP) as path:
        write_raster(path, found, found.codes, colours(len(found.classes)))
    with whole(output / result_folder.CONFIDENCE_MAP) as path:
        write_raster(path, found, found.confidence)
    with whole(output / result_folder.OVERVIEW) as path:
        draw_overview(path, found, photograph, measured.areas)
    with whole(output / result_folder.SIZE_FIGURE) as path:
        grain_sizes.draw_sizes(path, found, measured.grains, resolution)
