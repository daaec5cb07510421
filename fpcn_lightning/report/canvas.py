"""What the figures of reports share: colours that colour-blind readers can distinguish, axes, and files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fpcn_lightning.plotting import save
from fpcn_lightning.report.bootstrap import Estimate

# Blue, vermilion, green, purple, orange, sky blue and black of the palette by Okabe and Ito; yellow is too pale.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":")
MOST_TOGETHER = 10  # lines or rows of points beyond these cannot be distinguished
MOST_MARKED = 30  # epochs: a line of more points needs no marker at each
_LEAST_SPAN = 2.0  # points of percent: a narrower axis would enlarge rounding errors


class Drawing(NamedTuple):
    """A figure and the sentence below it."""

    figure: Figure
    caption: str


def style_axes(axes: Axes) -> None:
    """Remove the frame above and to the right, and draw a faint grid."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def ensure_span(axes: Axes, along: Literal["x", "y"]) -> None:
    """Let an axis of percent span two points at least, about its middle, so that small differences look small.

    To be called when everything is drawn: matplotlib no longer adapts an axis whose limits were set.
    """
    low, high = axes.get_xlim() if along == "x" else axes.get_ylim()
    missing = _LEAST_SPAN - (high - low)
    if missing > 0:
        axes.set(**{f"{along}lim": (low - missing / 2, high + missing / 2)})


def shortened(name: str, longest: int = 28) -> str:
    """`name` without its middle where it is too long: names of rocks often share their beginning or their end."""
    half = longest // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[1 - half :]}"


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `name`.png and `name`.svg into `folder`, byte for byte the same for the same figure."""
    save(figure, folder / f"{name}.png", dpi=150)
    figure.set_layout_engine("none")  # laid out already
    with matplotlib.rc_context({"svg.hashsalt": name}):
        save(figure, folder / f"{name}.svg", metadata={"Date": None})


def error_bars(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """Distances from each value to the ends of its interval, in percent, as matplotlib takes them: [2, N]."""
    ends = [(each.value - each.low, each.high - each.value) for each in estimates]
    # With few pictures the value itself may lie outside a percentile interval; a bar cannot point backwards.
    lengths: NDArray[np.float64] = 100 * np.maximum(np.array(ends).T, 0)
    return lengths
