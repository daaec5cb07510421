"""A figure of rows that are compared within groups: the conditions of each group, and their gains on the baseline."""

from collections.abc import Callable, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from fpcn_lightning.plotting import new_figure
from fpcn_lightning.report.canvas import COLOURS, MARKERS, Drawing, ensure_span, shortened, style_axes
from fpcn_lightning.report.forest import accuracy_of, difference_of, draw_points
from fpcn_lightning.report.formats import NEVER, epochs_cell, epochs_heading
from fpcn_lightning.report.rows import Row

_BETWEEN_GROUPS = 0.6  # heights of a row

Placed = Sequence[tuple[float, Row]]
"""Rows by their height in the figure."""


def draw_within(rows: Sequence[Row]) -> Drawing | None:
    """The conditions of each group below each other: accuracy, difference to the baseline, epochs to reach an accuracy.

    A panel without any value is omitted; None where no row of a group has an interval.
    """
    placed = _placed([row for row in rows if row.group and accuracy_of(row)])
    if not placed:
        return None
    found = [row for _, row in placed]
    panels: list[tuple[Callable[[Axes, Placed, Sequence[str]], None], str]] = [(_draw_accuracy, "accuracy")]
    if any(difference_of(row) for row in found):
        panels.append((_draw_differences, "difference to the baseline of the group"))
    if any(row.seeds_at_target is not None for row in found):
        panels.append((_draw_epochs, "epochs until validation reached an accuracy"))
    conditions = list(dict.fromkeys(row.condition or "" for row in found))
    figure = new_figure(width=2 + 3.6 * len(panels), height=1.5 + 0.4 * (placed[-1][0] + 1))
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (draw, _) in zip(every, panels, strict=True):
        draw(axes, placed, conditions)
        style_axes(axes)
        axes.grid(visible=False, axis="y")
    _name_groups(every[0], placed)
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=shortened(condition))
        for condition, (colour, marker) in zip(conditions, map(_style, range(len(conditions))), strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(conditions), 4), frameon=False)
    shown = ", ".join(name for _, name in panels)
    return Drawing(
        figure, f"The conditions of each group: {shown}. Means over seeds or folds; accuracies with 95 % intervals."
    )


def _placed(rows: Sequence[Row]) -> list[tuple[float, Row]]:
    """By group in order of appearance, with a gap between groups."""
    order = list(dict.fromkeys(row.group for row in rows))
    ordered = sorted(rows, key=lambda row: order.index(row.group))
    return [(place + _BETWEEN_GROUPS * order.index(row.group), row) for place, row in enumerate(ordered)]


def _name_groups(axes: Axes, placed: Placed) -> None:
    middles, names = [], []
    for group, members in groupby(placed, key=lambda each: each[1].group):
        heights = [height for height, _ in members]
        middles.append((heights[0] + heights[-1]) / 2)
        names.append(shortened(group or ""))
    axes.set_yticks(middles, names, parse_math=False)
    axes.set_ylim(placed[-1][0] + 0.6, -0.6)


def _draw_accuracy(axes: Axes, placed: Placed, conditions: Sequence[str]) -> None:
    for number, condition in enumerate(conditions):
        draw_points(
            axes, [(height, accuracy_of(row)) for height, row in placed if row.condition == condition], *_style(number)
        )
    ensure_span(axes, "x")
    axes.set_xlabel("accuracy (%)")


def _draw_differences(axes: Axes, placed: Placed, conditions: Sequence[str]) -> None:
    for number, condition in enumerate(conditions):
        own = [(height, difference_of(row)) for height, row in placed if row.condition == condition]
        draw_points(axes, own, *_style(number))
        for height, gain in own:
            if gain:
                _write(axes, 100 * gain.value, height, f"{100 * gain.value:+.1f}")
    axes.axvline(0, color="0.3", linewidth=1)
    ensure_span(axes, "x")
    axes.set_xlabel("difference to the baseline (points of %)")


def _draw_epochs(axes: Axes, placed: Placed, conditions: Sequence[str]) -> None:
    for number, condition in enumerate(conditions):
        for height, row in placed:
            if row.condition == condition and row.epochs_to_target is not None:
                colour, marker = _style(number)
                axes.plot([row.epochs_to_target], [height], color=colour, marker=marker, markersize=6)
                _write(axes, row.epochs_to_target, height, epochs_cell(row))
    for height, row in placed:
        if row.seeds_at_target == 0:
            # At the left edge, where no value lies.
            axes.text(0.03, height, NEVER, transform=axes.get_yaxis_transform(), va="center", color="0.4")
    # Room for the text at the rightmost point.
    axes.set_xlim(0, 1.15 * max(row.epochs_to_target or 1 for _, row in placed))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(epochs_heading(next(row.target_accuracy for _, row in placed if row.target_accuracy is not None)))


def _write(axes: Axes, x: float, height: float, text: str) -> None:
    axes.annotate(text, (x, height), xytext=(0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=8)


def _style(number: int) -> tuple[str, str]:
    """Colour and marker of a condition by its number."""
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
