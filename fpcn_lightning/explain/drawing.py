"""Rows of panels as one figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning import plotting
from fpcn_lightning.data.augment import LUMINANCE
from fpcn_lightning.explain.panels import Panel
from fpcn_lightning.report.canvas import shortened

_SIZE = 256  # height and width of a panel, pixels
_COLOUR_MAP = "viridis"  # readable by the colour-blind, and in grey
_OPACITY = 0.6
_SHADE = 0.4  # factor of the brightness outside an outline
_LINE = (213, 94, 0)  # vermilion
_LINE_WIDTH = 2  # pixels, inside and outside of the border
_RIGHT, _WRONG = "#0072B2", "#D55E00"  # blue and vermilion, which the colour-blind can distinguish
_PANEL_INCHES = 1.75


def draw(rows: Sequence[Sequence[Panel]], title: str = "") -> Figure:
    """A figure of one or more rows with the same columns.

    Each overlay has its own scale, as the figure says: the places of two of them can be compared, not their values.
    """
    height, width = len(rows), len(rows[0])
    below = max(len(panel.lines) for row in rows for panel in row)
    figure = plotting.new_figure(_PANEL_INCHES * width, (_PANEL_INCHES + 0.17 * below) * height + 1)
    grid = figure.subplots(height, width, squeeze=False)
    for number, row in enumerate(rows):
        for axes, panel in zip(grid[number], row, strict=True):
            _draw_panel(axes, panel, headed=number == 0)
    if any(panel.overlay is not None for row in rows for panel in row):
        _explain_colours(figure, list(grid.flat))
    if title:
        figure.suptitle(title, fontsize=10, parse_math=False)
    plotting.complete_fonts(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG, or replace it, in a single step."""
    return plotting.save(figure, path, dpi=150)


def painted(panel: Panel) -> NDArray[np.uint8]:
    """The pixels of a panel [256, 256, 3]: in colours, or in grey below the colours of its overlay."""
    picture = _resized(panel.picture, Image.Resampling.BILINEAR).astype(np.float32)
    if panel.overlay is not None:
        heat = _resized(panel.overlay.astype(np.float32), Image.Resampling.BILINEAR)
        colours = 255 * matplotlib.colormaps[_COLOUR_MAP](heat)[..., :3]
        picture = (1 - _OPACITY) * (picture @ LUMINANCE)[..., None] + _OPACITY * colours
    if panel.outline is not None:
        inside = _resized(panel.outline, Image.Resampling.NEAREST)
        picture = np.where(inside[..., None], picture, _SHADE * picture)
        picture[_border(inside)] = _LINE
    pixels: NDArray[np.uint8] = np.rint(picture).astype(np.uint8)
    return pixels


def _resized(values: NDArray[Any], how: Image.Resampling) -> NDArray[Any]:
    return np.asarray(Image.fromarray(values).resize((_SIZE, _SIZE), how))


def _border(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The border of a region, a few pixels wide; beyond the edges of the image is outside."""
    wide = np.pad(inside, _LINE_WIDTH)
    reach = range(-_LINE_WIDTH, _LINE_WIDTH + 1)
    moved = [np.roll(wide, (down, right), (0, 1)) for down in reach for right in reach]
    met: NDArray[np.bool_] = np.any(moved, axis=0) & ~np.all(moved, axis=0)
    return met[_LINE_WIDTH:-_LINE_WIDTH, _LINE_WIDTH:-_LINE_WIDTH]


def _draw_panel(axes: Axes, panel: Panel, *, headed: bool) -> None:
    axes.imshow(painted(panel))
    axes.set(xticks=[], yticks=[])
    colour = {None: "black", True: _RIGHT, False: _WRONG}[panel.correct]
    for spine in axes.spines.values():
        spine.set(visible=panel.correct is not None, color=colour, linewidth=2)
    below, above = (_font(size, "\n".join((panel.heading, *panel.lines))) for size in (7.5, 8.5))
    text = _fitting(panel.lines, below)
    axes.set_xlabel(text, color=colour, fontproperties=below, parse_math=False, labelpad=3)
    if headed:
        axes.set_title(_fitting(panel.heading.splitlines(), above), fontproperties=above, parse_math=False)


def _font(size: float, text: str) -> FontProperties:
    return FontProperties(family=[*FontProperties().get_family(), *plotting.fallback_fonts(text)], size=size)


def _fitting(lines: Sequence[str], font: FontProperties) -> str:
    """The lines as one text, each shortened in its middle until it fits the width of a panel."""
    renderer: Any = RendererAgg(1, 1, 72)  # type: ignore[no-untyped-call]

    def fits(line: str) -> bool:
        width, _, _ = renderer.get_text_width_height_descent(line, font, ismath=False)
        return bool(width <= 72 * _PANEL_INCHES)

    def cut(line: str) -> str:
        shorter = (shortened(line, longest) for longest in range(len(line), 3, -1))
        return line if fits(line) else next(filter(fits, shorter), "")

    return "\n".join(map(cut, lines))


def _explain_colours(figure: Figure, axes: Sequence[Axes]) -> None:
    bar = figure.colorbar(
        ScalarMappable(cmap=_COLOUR_MAP), ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.01, ticks=[0, 1]
    )
    bar.set_ticklabels(["min", "max"], fontsize=7.5)
    bar.set_label("each map has its own scale", fontsize=7.5, labelpad=-6)
    bar.outline.set_visible(False)
