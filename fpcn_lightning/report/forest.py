"""A forest plot: the rows of an experiment one below the other, with their intervals."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from fpcn_lightning.plotting import new_figure
from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.canvas import (
    COLOURS,
    MARKERS,
    Drawing,
    ensure_span,
    error_bars,
    shortened,
    style_axes,
)
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.rows import Row


def draw_differences(experiment: Experiment) -> Drawing | None:
    """The accuracy of each row with its interval and, beside it, its difference to the row that it is compared with.

    None where no row has an interval.
    """
    rows = [row for row in experiment.rows if accuracy_of(row)]
    if not rows:
        return None
    compared = any(difference_of(row) for row in rows)
    panels = 2 if compared else 1
    figure = new_figure(width=2 + 4 * panels, height=1.3 + 0.36 * len(rows))
    first, *second = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    draw_points(first, [(place, accuracy_of(row)) for place, row in enumerate(rows)], COLOURS[0], MARKERS[0])
    first.set_yticks(range(len(rows)), [shortened(row.variant) for row in rows])
    first.set(xlabel="accuracy (%)", ylim=(len(rows) - 0.4, -0.6))
    partner = "the baseline" if experiment.has_groups else experiment.reference
    for axes in second:
        draw_points(axes, [(place, difference_of(row)) for place, row in enumerate(rows)], COLOURS[0], MARKERS[0])
        axes.axvline(0, color="0.3", linewidth=1)
        axes.set(xlabel=f"difference to {partner} (points of %)")
    for axes in (first, *second):
        style_axes(axes)
        ensure_span(axes, "x")
    figure.suptitle("Means over seeds or folds with 95 % intervals", fontsize=11)
    both = f", and difference to {partner}" if compared else ""
    return Drawing(figure, f"Accuracy on the test set{both}: means over seeds or folds with 95 % intervals.")


def accuracy_of(row: Row) -> Estimate | None:
    """The accuracy of a row with its interval; None where it has none."""
    return _estimate(row.accuracy, row.accuracy_low, row.accuracy_high)


def difference_of(row: Row) -> Estimate | None:
    """The difference of a row with its interval; None where it has none."""
    return _estimate(row.difference, row.difference_low, row.difference_high)


def draw_points(axes: Axes, placed: Sequence[tuple[float, Estimate | None]], colour: str, marker: str) -> None:
    """Estimates in percent with their intervals, each at its height; those that are None are skipped."""
    known = [(place, estimate) for place, estimate in placed if estimate]
    places, estimates = [place for place, _ in known], [estimate for _, estimate in known]
    if known:
        values = [100 * each.value for each in estimates]
        bars = error_bars(estimates)
        axes.errorbar(values, places, xerr=bars, color=colour, marker=marker, linestyle="none", capsize=3, markersize=5)


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate | None:
    return None if value is None or low is None or high is None else Estimate(value, low, high)
