"""The page of a map: the section under its classes, the areas, and all warnings; it needs no other file to be read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap, cells_at
from fpcn_lightning.field.mapping.measure.palette import class_colours
from fpcn_lightning.field.mapping.write import result_folder as names
from fpcn_lightning.field.mapping.write.figures import scale_bar
from fpcn_lightning.field.mapping.write.summary import MapSummary, notes, number, warnings
from fpcn_lightning.field.results import TableRow, shown
from fpcn_lightning.html_pages import data_uri, image_uri, templates
from fpcn_lightning.runs.atomic_write import write_text_atomically

_JPEG_QUALITY = 85
_STRIPE, _EVERY = 2, 8  # pixels: width of a stripe of the hatching, and distance between two
_FILES = (
    (names.OVERVIEW, "photograph, classes and confidence in one picture"),
    (names.AREAS, "area of each class"),
    (names.GRAINS, "a line for each grain"),
    (names.GRAIN_SIZES, "sizes of grains by class"),
    (names.CONTACTS, "lengths of contacts between classes"),
    (names.CLASS_MAP, "classes, for QGIS and QuPath"),
    (names.STYLE, "their names and colours, which QGIS reads with them"),
    (names.CONFIDENCE_MAP, "confidence in percent, for QGIS and QuPath"),
    (names.OUTLINES, "outlines of the grains in pixels of the section, for QuPath"),
    (names.OUTLINES_QGIS, "the same for QGIS, which counts rows of a picture without coordinates downwards from 0"),
    (names.FACTS, "all numbers, for programs"),
)


@dataclass(frozen=True)
class _AreaLine:
    """A class in the table, as text."""

    name: str
    colour: str
    percent: str
    corrected: str
    interval: str
    area: str
    grains: str
    unfamiliar: str


@dataclass(frozen=True)
class _Layers:
    """Pictures of the section, one above the other, as data URIs."""

    photograph: str
    classes: str
    unfamiliar: str | None  # None where everything looks familiar
    bar_percent: float  # length of the scale bar, of the width
    bar_label: str


def write_page(path: Path, summary: MapSummary, class_map: ClassMap, photograph: NDArray[np.uint8]) -> None:
    """Write the page.

    Args:
        path: the HTML file, in the folder with the figure of grain sizes.
        summary: of the map.
        class_map: the map.
        photograph: uint8 [h, w, 3], the section at a smaller size.
    """
    known = summary.micrometres_per_pixel is not None
    text = (
        templates("fpcn_lightning.field.mapping.write")
        .get_template("page.html.jinja")
        .render(
            summary=summary,
            section=shown(Path(summary.section.name)),
            made=datetime.now(UTC).strftime("%Y-%m-%d"),
            verdict=verdict(summary),
            warnings=[*summary.usability.warnings, *warnings(summary)],
            notes=notes(summary),
            layers=_layers(class_map, photograph),
            unit="mm²" if known else "px",
            lines=[_line(row, known=known) for row in _largest_first(summary.areas)],
            files=_FILES,
            size_figure=data_uri((path.parent / names.SIZE_FIGURE).read_bytes(), "png") if summary.grains else None,
        )
    )
    write_text_atomically(path, text)


def verdict(summary: MapSummary) -> str:
    """The first sentence of the page: the class with the largest area, and how sure that area is."""
    present = _largest_first(summary.areas)
    if not present:
        return "No part of the section could be classified."
    first = present[0]
    text = f"{first['class']} has the largest area: {first['percent']:.1f} % as counted"
    if first["percent_corrected"] is None:
        return f"{text}. How far that may be off was not measured."
    low, high = first["corrected_low"], first["corrected_high"]
    return f"{text}, {first['percent_corrected']:.1f} % corrected (95 % interval {low:.1f} to {high:.1f} %)."


def _largest_first(areas: list[TableRow]) -> list[TableRow]:
    """The classes in the map or in its corrected areas, without the row of places without data."""
    found = [row for row in areas[:-1] if row["area_px"] or number(row["percent_corrected"]) >= 0.05]
    return sorted(found, key=lambda row: -number(row["percent"]))


def _line(row: TableRow, *, known: bool) -> _AreaLine:
    measured = row["percent_corrected"] is not None
    return _AreaLine(
        name=str(row["class"]),
        colour=str(row["colour"]),
        percent=f"{number(row['percent']):.1f}",
        corrected=f"{row['percent_corrected']:.1f}" if measured else "not measured",
        interval=f"{row['corrected_low']:.1f} to {row['corrected_high']:.1f}" if measured else "not measured",
        area=f"{row['area_mm2']:.4g}" if known else f"{row['area_px']:,}",
        grains=f"{row['grains']:,}",
        unfamiliar=f"{number(row['percent_unfamiliar']):.0f}",
    )


def _layers(class_map: ClassMap, photograph: NDArray[np.uint8]) -> _Layers:
    codes = cells_at(class_map.codes, photograph.shape)
    unfamiliar = cells_at(class_map.unfamiliar, photograph.shape)
    colours = np.dstack([class_colours(len(class_map.classes))[codes], np.where(codes == NO_DATA, 0, 255)])
    length, label = scale_bar(class_map.width, class_map.micrometres_per_pixel)
    return _Layers(
        photograph=image_uri(Image.fromarray(photograph), quality=_JPEG_QUALITY),
        classes=image_uri(Image.fromarray(colours.astype(np.uint8)), "png"),
        unfamiliar=image_uri(Image.fromarray(_hatched(unfamiliar)), "png") if unfamiliar.any() else None,
        bar_percent=100 * length / class_map.width,
        bar_label=label,
    )


def _hatched(where: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """uint8 [h, w, 4]: diagonal stripes, black next to white, so that they show on every colour."""
    rows, columns = np.indices(where.shape)
    phase = (rows + columns) % _EVERY
    pixels = np.zeros((*where.shape, 4), np.uint8)
    pixels[where & (phase < _STRIPE)] = (0, 0, 0, 255)
    pixels[where & (phase >= _STRIPE) & (phase < 2 * _STRIPE)] = (255, 255, 255, 255)
    return pixels
