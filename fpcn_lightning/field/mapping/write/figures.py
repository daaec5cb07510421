"""The figures of a map: an overview of photograph, classes and confidence, and the grain sizes of each class."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap, cells_at
from fpcn_lightning.field.mapping.measure.grains import MeasuredGrains
from fpcn_lightning.field.mapping.measure.palette import class_colours
from fpcn_lightning.field.mapping.measure.tables import NO_DATA_NAME
from fpcn_lightning.field.mapping.write.summary import metric
from fpcn_lightning.field.results import TableRow
from fpcn_lightning.plotting import new_figure, save

_DOTS_PER_INCH = 130
_MAX_ROW, _MAX_COLUMN = 13.0, 11.5  # inches for the three panels side by side, or above each other
_MIN_WIDTH = 9.0  # inches, for the legend
_LEGEND_COLUMNS, _MAX_NAMES = 4, 24
_WIDE = 1.5  # of a section that is this much wider than high, the panels are above each other
_MIN_BAR_SHARE = 0.2  # of the width: shorter scale bars are hard to read

_MAX_LINES = 10  # classes with a line in the figure of grain sizes; the table has all of them


def draw_overview(path: Path, class_map: ClassMap, photograph: NDArray[np.uint8], areas: list[TableRow]) -> None:
    """Draw photograph, class map and confidence side by side, or above each other, with a legend and a scale bar.

    Args:
        path: the PNG file; at most 2000 pixels along its longer edge.
        class_map: the map.
        photograph: uint8 [h, w, 3], the section at a smaller size.
        areas: the result of `fpcn_lightning.field.mapping.measure.tables.area_rows`.
    """
    across = class_map.width < _WIDE * class_map.height
    figure = new_figure(*_figure_size(class_map, across=across), dpi=_DOTS_PER_INCH)
    panels = figure.subplots(*((1, 3) if across else (3, 1)))
    codes, confidence = (cells_at(cells, photograph.shape) for cells in (class_map.codes, class_map.confidence))
    colours = class_colours(len(class_map.classes))
    _show(panels[0], class_map, photograph, "photograph")
    _show(panels[1], class_map, colours[codes], "likeliest class")
    known = np.ma.masked_equal(confidence, NO_DATA)
    image = _show(panels[2], class_map, known, "confidence", cmap="viridis", vmin=0, vmax=100)
    figure.colorbar(image, ax=list(panels), label="probability of that class (%)", fraction=0.04)
    _add_scale_bar(panels[0], class_map)
    legend = figure.legend(
        handles=_legend(areas, colours),
        loc="outside lower center",
        ncols=_LEGEND_COLUMNS,
        frameon=False,
        title="percent of the area with data",
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    save(figure, path)


def draw_sizes(path: Path, class_map: ClassMap, grains: MeasuredGrains, resolution: float) -> None:
    """Draw for each class the percentage of its area in grains up to each equivalent diameter.

    Args:
        path: the PNG file.
        class_map: the map.
        grains: of the map.
        resolution: diameter in pixels below which grains are not reliable; marked by a grey background.
    """
    figure = new_figure(8, 5, dpi=120)
    axes = figure.add_subplot(xscale="log")
    scale, colours = class_map.micrometres_per_pixel or 1.0, class_colours(len(class_map.classes)) / 255
    areas = np.bincount(grains.code, grains.area, len(class_map.classes))
    shown = [code for code in np.argsort(-areas, kind="stable")[:_MAX_LINES] if areas[code]]
    for code in shown:
        order = np.flatnonzero(grains.code == code)[::-1]  # the smallest first
        diameters, percents = grains.diameter[order] * scale, 100 * np.cumsum(grains.area[order]) / areas[code]
        line = np.append(diameters[0], diameters), np.append(0, percents)
        axes.step(*line, where="post", color=colours[code], linewidth=2, label=class_map.classes[code])
    finest = resolution * scale
    left = min(axes.get_xlim()[0], finest / 2)
    axes.set(xlim=(left, axes.get_xlim()[1]), ylim=(0, 102), ylabel="area in grains up to this diameter (%)")
    axes.set_xlabel(f"equivalent diameter of a grain ({'um' if class_map.micrometres_per_pixel else 'px'})")
    axes.axvspan(left, finest, color="0.92", zorder=0, label="finer than windows resolve")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    for text in figure.legend(loc="outside right upper", frameon=False).get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    save(figure, path)


def scale_bar(width: float, micrometres_per_pixel: float | None) -> tuple[float, str]:
    """The length of a scale bar: 1, 2 or 5 times a power of ten, a fifth to half of `width` pixels, at least one pixel.

    Returns:
        The length in pixels, and its label.
    """
    scale = micrometres_per_pixel or 1.0
    least = max(_MIN_BAR_SHARE * width, 1) * scale
    power = 10.0 ** math.floor(math.log10(least))
    length = next(step * power for step in (1, 2, 5, 10) if step * power >= least)
    return length / scale, f"{length:g} px (scale unknown)" if micrometres_per_pixel is None else metric(length)


def _figure_size(class_map: ClassMap, *, across: bool) -> tuple[float, float]:
    """Width and height of the figure in inches: the three panels, and what is around them."""
    columns, rows = (3, 1) if across else (1, 3)
    inch = max(columns * class_map.width / _MAX_ROW, rows * class_map.height / _MAX_COLUMN)  # in pixels
    legend = 0.5 + 0.25 * math.ceil((min(len(class_map.classes), _MAX_NAMES) + 2) / _LEGEND_COLUMNS)
    width = columns * class_map.width / inch + 1.5
    return max(width, _MIN_WIDTH), rows * (class_map.height / inch + 0.3) + legend


def _show(axes: Axes, class_map: ClassMap, picture: NDArray[Any], title: str, **colouring: Any) -> Any:
    axes.set_title(title)
    axes.set(xticks=(), yticks=())
    extent = (0, class_map.width, class_map.height, 0)
    return axes.imshow(picture, extent=extent, interpolation="nearest", **colouring)


def _add_scale_bar(axes: Axes, class_map: ClassMap) -> None:
    length, text = scale_bar(class_map.width, class_map.micrometres_per_pixel)
    thickness = class_map.height / 100
    axes.add_artist(AnchoredSizeBar(axes.transData, length, text, "lower left", size_vertical=thickness, pad=0.4))


def _legend(areas: list[TableRow], colours: NDArray[np.uint8]) -> list[Patch]:
    """The classes in the map, the largest first, and the area without data."""
    *classes, missing = areas
    present = sorted((row for row in classes if row["area_px"]), key=lambda row: -float(str(row["area_px"])))
    patches = [_patch(colours, row, f"{row['class']}  {row['percent']:.1f} %") for row in present[:_MAX_NAMES]]
    if len(present) > _MAX_NAMES:
        patches.append(Patch(facecolor="none", label=f"and {len(present) - _MAX_NAMES} more: see areas.csv"))
    if missing["area_px"]:
        label = f"{NO_DATA_NAME}  {missing['percent_of_section']:.1f} % of the section"
        patches.append(_patch(colours, missing, label))
    return patches


def _patch(colours: NDArray[np.uint8], row: TableRow, label: str) -> Patch:
    return Patch(facecolor=colours[int(str(row["code"]))] / 255, edgecolor="0.4", label=label)
