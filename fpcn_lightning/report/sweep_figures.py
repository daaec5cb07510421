"""Pictures of an experiment: its rows with intervals, how its variants learned, and accuracy against one quantity."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fpcn_lightning.errors import UserError
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.canvas import (
    COLOURS,
    DASHES,
    MARKERS,
    MOST_TOGETHER,
    error_bars,
    new_figure,
    plain,
    shortened,
)
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.figures import Curve, logged, read_curves
from fpcn_lightning.report.results import Result
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.sameness import flatten
from fpcn_lightning.report.settings import read_settings
from fpcn_lightning.report.variants import Variant

PAIRS_IN_A_BATCH = "pairs_in_a_batch"
_HIGHLIGHTED = 6


def draw_differences(experiment: Experiment) -> Figure | None:
    """A forest plot: the accuracy of each row with its interval and, beside it, its difference to the reference.

    None where no row has an interval.
    """
    rows = [row for row in experiment.rows if row.accuracy_low is not None]
    if not rows:
        return None
    panels = ["accuracy", "difference"] if any(row.difference is not None for row in rows) else ["accuracy"]
    figure = new_figure(width=2 + 4 * len(panels), height=1.3 + 0.36 * len(rows))
    first, *second = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    _forest(first, [(place, _accuracy(row)) for place, row in enumerate(rows)])
    first.set_yticks(range(len(rows)), [shortened(row.variant) for row in rows])
    first.set(xlabel="accuracy (%)", ylim=(len(rows) - 0.4, -0.6))
    for axes in second:
        _forest(axes, [(place, gain) for place, row in enumerate(rows) if (gain := _difference(row))])
        axes.axvline(0, color="0.3", linewidth=1)
        axes.set(xlabel=f"difference to {experiment.reference} (points of %)")
    figure.suptitle("Means over seeds with 95 % intervals", fontsize=11)
    return figure


def draw_learning_curves(experiment: Experiment) -> Figure | None:
    """Validation accuracy by epoch: the mean over seeds, and a band from the lowest seed to the highest.

    Of more than ten variants, the reference and the best by their last epoch stand out from the others. A run without
    a usable `metrics.csv` is left out, and so are variants that must not be averaged; None where nothing is left.
    """
    spans = {variant.name: span for variant in experiment.variants if (span := _span(variant))}
    if not spans:
        return None
    figure = new_figure(width=8, height=4.8)
    axes = figure.subplots()
    ranked = sorted(spans, key=lambda name: (name != experiment.reference, -spans[name].mean[-1]))
    shown = spans if len(spans) <= MOST_TOGETHER else ranked[:_HIGHLIGHTED]
    for name, span in spans.items():
        if name not in shown:
            axes.plot(span.epochs, span.mean, color="0.8", linewidth=0.8)
    for number, name in enumerate(name for name in spans if name in shown):
        _draw_span(axes, spans[name], shortened(name), number)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch (the first is 0)", ylabel="validation accuracy (%)")
    plain(axes)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def draw_curve(experiment: Experiment) -> Figure | None:
    """Accuracy under the configured reading against the quantity that the config's section `report.curve` names.

    Means with their intervals, and every seed as a dot. None without such a section, or where no variant has a number
    there.
    """
    curve = experiment.settings.get("curve")
    points = _points(experiment, curve["x"]) if curve else []
    if not curve or not points:
        return None
    figure = new_figure(width=7, height=4.6)
    axes = figure.subplots()
    lines = list(dict.fromkeys(point.line for point in points))
    for number, line in enumerate(lines):
        _draw_line(axes, [point for point in points if point.line == line], line, number)
    _scale(axes, sorted({point.x for point in points}))
    axes.set(xlabel=curve["label"], ylabel="accuracy (%)")
    plain(axes)
    if len(lines) > 1:
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def _accuracy(row: Row) -> Estimate:
    return Estimate(row.accuracy or 0.0, row.accuracy_low or 0.0, row.accuracy_high or 0.0)


def _difference(row: Row) -> Estimate | None:
    if row.difference is None or row.difference_low is None or row.difference_high is None:
        return None
    return Estimate(row.difference, row.difference_low, row.difference_high)


def _forest(axes: Axes, placed: Sequence[tuple[int, Estimate]]) -> None:
    places, estimates = [place for place, _ in placed], [estimate for _, estimate in placed]
    values = [100 * each.value for each in estimates]
    axes.errorbar(values, places, xerr=error_bars(estimates), fmt="o", color=COLOURS[0], capsize=3, markersize=5)
    plain(axes)


class _Span(NamedTuple):
    """Values by epoch in percent: mean, lowest and highest of the seeds that reached it."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def _span(variant: Variant) -> _Span | None:
    if variant.quarrel is not None:
        return None
    curves = [curve for folder, _ in variant.tested if (curve := _validation_curve(folder / "metrics.csv"))]
    if not curves:
        return None
    epochs = sorted({epoch for curve in curves for epoch in curve})
    values = [[100 * curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
    return _Span(
        epochs, [math.fsum(each) / len(each) for each in values], list(map(min, values)), list(map(max, values))
    )


def _validation_curve(path: Path) -> Curve:
    try:
        return logged(read_curves(path), "val/accuracy")
    except UserError:
        return {}


def _draw_span(axes: Axes, span: _Span, label: str | None, number: int) -> None:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
    axes.fill_between(span.epochs, span.low, span.high, color=colour, alpha=0.12, linewidth=0)
    marker = MARKERS[number % len(MARKERS)] if len(span.epochs) <= 30 else None
    axes.plot(span.epochs, span.mean, dash, color=colour, marker=marker, markersize=4, label=label)


class _Point(NamedTuple):
    """One variant on a curve: where it stands, how accurate it is, and each of its seeds."""

    x: float
    line: str
    accuracy: Estimate
    seeds: list[float]


def _points(experiment: Experiment, x: str) -> list[_Point]:
    points = []
    for variant in experiment.variants:
        if variant.name not in experiment.measured:
            continue
        place = _place(variant.tested[0][1], x)
        if place is not None:
            sample = experiment.measured[variant.name].sample
            seeds = sample.outcomes.mean(axis=1).tolist()
            points.append(_Point(place, _line(variant), bootstrap.mean(sample), seeds))
    return sorted(points, key=lambda point: point.x)


def _place(result: Result, key: str) -> float | None:
    """The number under a config key, or how many pairs a process's batch has; None where there is none.

    The number of pairs holds where every picture finds as many partners as are asked for.
    """
    config = flatten(result["config"])
    if key == PAIRS_IN_A_BATCH:
        if config.get("model.pairs") == "all":
            return None  # a picture then has as many as there are others
        classes = len(result["data"]["classes"]) if result["data"] else None
        factors = [config.get("model.pairs_per_image"), config.get("data.samples_per_class"), classes]
    else:
        factors = [config.get(key)]
    numbers = [factor for factor in factors if isinstance(factor, int | float) and not isinstance(factor, bool)]
    return math.prod(numbers) if len(numbers) == len(factors) else None


def _line(variant: Variant) -> str:
    curve = read_settings(variant.tested).get("curve")
    return (curve.get("line") if curve else None) or ""


def _draw_line(axes: Axes, points: Sequence[_Point], label: str, number: int) -> None:
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    for point in points:
        axes.plot([point.x] * len(point.seeds), [100 * seed for seed in point.seeds], ".", color=colour, alpha=0.4)
    axes.errorbar(
        [point.x for point in points],
        [100 * point.accuracy.value for point in points],
        yerr=error_bars([point.accuracy for point in points]),
        color=colour,
        marker=marker,
        linestyle=DASHES[number // len(COLOURS) % len(DASHES)],
        capsize=3,
        label=label,
    )


def _scale(axes: Axes, places: Sequence[float]) -> None:
    """Ticks where something was measured; doublings at equal distances where the range is wide."""
    if places[0] > 0 and places[-1] / places[0] >= 8:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    if len(places) <= 8:
        axes.set_xticks(places)
        axes.minorticks_off()
