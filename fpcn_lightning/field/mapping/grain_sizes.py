"""How large the grains of each class are."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from fpcn_lightning.field.mapping.class_map import ClassMap
from fpcn_lightning.field.mapping.grains import Grains
from fpcn_lightning.field.mapping.palette import colours
from fpcn_lightning.field.results import Row

COLUMNS = ("class", "unit", "diameter_from", "diameter_to", "grains", "area_percent")

_MOST_LINES = 10  # classes beyond these, by area, are in the table alone
_PER_DOUBLING = 2  # bins: half a phi, as sieves are graded


def size_rows(found: ClassMap, grains: Grains) -> list[Row]:
    """A row with `COLUMNS` for each class and bin of equivalent diameters, as far as the class has grains.

    Bins grow by the square root of two from 1 on, in um or, where the scale is unknown, in px. `area_percent` is of
    the class's area.
    """
    scale = found.micrometres_per_pixel
    steps = np.floor(_PER_DOUBLING * np.log2(grains.diameter * (scale or 1))).astype(np.int64)
    rows: list[Row] = []
    for code, name in enumerate(found.classes):
        mine = grains.code == code
        total = grains.area[mine].sum()
        for step in range(steps[mine].min(), steps[mine].max() + 1) if mine.any() else ():
            held = mine & (steps == step)
            edges = (float(2 ** (edge / _PER_DOUBLING)) for edge in (step, step + 1))
            percent = float(100 * grains.area[held].sum() / total)
            cells = (name, "px" if scale is None else "um", *edges, int(held.sum()), percent)
            rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return rows


def draw_sizes(path: Path, found: ClassMap, grains: Grains, resolution: float) -> None:
    """Draw for each class what percent of its area lies in grains up to which equivalent diameter.

    Args:
        path: the picture's file.
        found: the map.
        grains: of the map.
        resolution: diameter in pixels below which grains are not to be trusted; marked by a grey ground.
    """
    figure = Figure(figsize=(8, 5), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log")
    scale, table = found.micrometres_per_pixel or 1.0, colours(len(found.classes)) / 255
    areas = np.bincount(grains.code, grains.area, len(found.classes))
    shown = [code for code in np.argsort(-areas, kind="stable")[:_MOST_LINES] if areas[code]]
    for code in shown:
        order = np.flatnonzero(grains.code == code)[::-1]  # the smallest first
        diameters, percents = grains.diameter[order] * scale, 100 * np.cumsum(grains.area[order]) / areas[code]
        line = np.append(diameters[0], diameters), np.append(0, percents)
        axes.step(*line, where="post", color=table[code], linewidth=2, label=found.classes[code])
    finest = resolution * scale
    left = min(axes.get_xlim()[0], finest / 2)
    axes.set(xlim=(left, axes.get_xlim()[1]), ylim=(0, 102), ylabel="area in grains up to this diameter (%)")
    axes.set_xlabel(f"equivalent diameter of a grain ({'um' if found.micrometres_per_pixel else 'px'})")
    axes.axvspan(left, finest, color="0.92", zorder=0, label="finer than windows resolve")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    for text in figure.legend(loc="outside right upper", frameon=False).get_texts():
        text.set_parse_math(False)  # a dollar sign in a name is no formula
    figure.savefig(path)
