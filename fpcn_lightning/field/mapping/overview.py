"""One picture to look at first: the photograph, what it is made of, and how sure that is."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.areas import NO_DATA_NAME
from fpcn_lightning.field.mapping.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.mapping.lengths import round_length
from fpcn_lightning.field.mapping.palette import colours
from fpcn_lightning.field.results import Row

_DOTS_PER_INCH = 130
_LONGEST_ROW, _LONGEST_COLUMN = 13.0, 11.5  # inches that the three pictures take
_LEAST_WIDTH = 9.0  # for the legend
_LEGEND_COLUMNS, _MOST_NAMES = 4, 24
_WIDE = 1.5  # a section this much wider than high is drawn three times above each other


def draw_overview(path: Path, found: ClassMap, photograph: NDArray[np.uint8], areas: list[Row]) -> None:
    """Draw photograph, class map and confidence side by side, or above each other, with a legend and a scale bar.

    Args:
        path: the picture's file; at most 2000 pixels on its longer side.
        found: the map.
        photograph: uint8 [h, w, 3], the section shrunk.
        areas: what `fpcn_lightning.field.mapping.areas.area_rows` gave.
    """
    across = found.width < _WIDE * found.height
    figure = Figure(figsize=_size(found, across=across), layout="constrained", dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    panels = figure.subplots(*((1, 3) if across else (3, 1)))
    codes, confidence = (_shrunk(cells, photograph.shape) for cells in (found.codes, found.confidence))
    table = colours(len(found.classes))
    _show(panels[0], found, photograph, "photograph")
    _show(panels[1], found, table[codes], "likeliest class")
    known = np.ma.masked_equal(confidence, NO_DATA)
    sure = _show(panels[2], found, known, "confidence", cmap="viridis", vmin=0, vmax=100)
    figure.colorbar(sure, ax=list(panels), label="probability of that class (%)", fraction=0.04)
    _add_scale_bar(panels[0], found)
    legend = figure.legend(
        handles=_legend(areas, table),
        loc="outside lower center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        title="percent of the area with data",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    figure.savefig(path)


def _size(found: ClassMap, *, across: bool) -> tuple[float, float]:
    """Width and height of the figure in inches: the three pictures, and what stands around them."""
    columns, rows = (3, 1) if across else (1, 3)
    inch = max(columns * found.width / _LONGEST_ROW, rows * found.height / _LONGEST_COLUMN)  # in pixels
    legend = 0.5 + 0.25 * math.ceil((min(len(found.classes), _MOST_NAMES) + 2) / _LEGEND_COLUMNS)
    width = columns * found.width / inch + 1.5
    return max(width, _LEAST_WIDTH), rows * (found.height / inch + 0.3) + legend


def _shrunk(cells: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The cells in the middle of `shape`'s pixels: codes have no mean."""
    rows, columns = (
        (2 * np.arange(wanted) + 1) * side // (2 * wanted) for side, wanted in zip(cells.shape, shape[:2], strict=True)
    )
    return cells[np.ix_(rows, columns)]


def _show(axes: Axes, found: ClassMap, picture: NDArray[Any], title: str, **colouring: Any) -> Any:
    axes.set_title(title)
    axes.set(xticks=(), yticks=())
    return axes.imshow(picture, extent=(0, found.width, found.height, 0), interpolation="nearest", **colouring)


def _add_scale_bar(axes: Axes, found: ClassMap) -> None:
    length, text = round_length(found.width, found.micrometres_per_pixel)
    thickness = found.height / 100
    axes.add_artist(AnchoredSizeBar(axes.transData, length, text, "lower left", size_vertical=thickness, pad=0.4))


def _legend(areas: list[Row], table: NDArray[np.uint8]) -> list[Patch]:
    """The classes that were found, the largest first, and what shows no data."""
    *classes, missing = areas
    there = sorted((row for row in classes if row["area_px"]), key=lambda row: -float(str(row["area_px"])))
    patches = [_patch(table, row, f"{row['class']}  {row['percent']:.1f} %") for row in there[:_MOST_NAMES]]
    if len(there) > _MOST_NAMES:
        patches.append(Patch(facecolor="none", label=f"and {len(there) - _MOST_NAMES} more: see areas.csv"))
    if missing["area_px"]:
        patches.append(_patch(table, missing, f"{NO_DATA_NAME}  {missing['percent_of_section']:.1f} % of the section"))
    return patches


def _patch(table: NDArray[np.uint8], row: Row, label: str) -> Patch:
    return Patch(facecolor=table[int(str(row["code"]))] / 255, edgecolor="0.4", label=label)
