"""Figures of an experiment: learning curves of its variants, and accuracy against one quantity."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fpcn_lightning.plotting import new_figure
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.canvas import (
    COLOURS,
    DASHES,
    MARKERS,
    MOST_MARKED,
    MOST_TOGETHER,
    Drawing,
    ensure_span,
    error_bars,
    shortened,
    style_axes,
)
from fpcn_lightning.report.curves import validation_accuracy
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.settings import read_settings
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import Result
from fpcn_lightning.runs.sameness import flatten

PAIRS_IN_A_BATCH = "pairs_in_a_batch"
_HIGHLIGHTED = 6
_WITH_UNIT = re.compile(r"(\d+(?:\.\d+)?) ?[a-z]+")  # as in training.budget


def draw_learning_curves(experiment: Experiment) -> Drawing | None:
    """Validation accuracy by epoch: the mean over seeds, and a band from the lowest seed to the highest.

    Of more than ten variants, the reference, if any, and the best by their last epoch are highlighted. Runs without a
    usable `metrics.csv` are skipped, and so are variants that must not be averaged; None where none remains.
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
            axes.plot(span.epochs, span.mean, color="0.8", marker=_marker(span, "."), linewidth=0.8)
    for number, name in enumerate(name for name in spans if name in shown):
        _draw_span(axes, spans[name], shortened(name), number)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel="validation accuracy (%)")
    ensure_span(axes, "y")
    style_axes(axes)
    figure.legend(loc="outside right upper", frameon=False)
    caption = "Validation accuracy by epoch: mean over seeds or folds, a band from the lowest to the highest."
    if len(spans) > MOST_TOGETHER:
        reference = "the reference and " if experiment.reference in spans else ""
        caption += f" Of the {len(spans)} variants, {reference}the best by their last epoch are named."
    return Drawing(figure, caption)


def draw_curve(experiment: Experiment) -> Drawing | None:
    """Accuracy under the configured inference mode against the quantity that the config's section `report.curve` names.

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
    ensure_span(axes, "y")
    style_axes(axes)
    if len(lines) > 1:
        figure.legend(loc="outside right upper", frameon=False)
    return Drawing(
        figure,
        "Accuracy on the test set, means over seeds or folds with 95 % intervals; a dot is one seed, or all folds.",
    )


class _Span(NamedTuple):
    """Values by epoch in percent: mean, lowest and highest of the seeds that reached it."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


def _span(variant: Variant) -> _Span | None:
    if variant.mismatch is not None:
        return None
    curves = [curve for folder, _ in variant.tested if (curve := validation_accuracy(folder))]
    if not curves:
        return None
    epochs = sorted({epoch for curve in curves for epoch in curve})
    values = [[100 * curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
    return _Span(
        epochs, [math.fsum(each) / len(each) for each in values], list(map(min, values)), list(map(max, values))
    )


def _draw_span(axes: Axes, span: _Span, label: str | None, number: int) -> None:
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
    marker = _marker(span, MARKERS[number % len(MARKERS)])
    if len(span.epochs) == 1:
        # There is no line and no band to draw: the variants are shown beside each other.
        place = [span.epochs[0] + 0.03 * number]
        axes.vlines(place, span.low, span.high, color=colour, alpha=0.4)
        axes.plot(place, span.mean, color=colour, marker=marker, markersize=8, linestyle="none", label=label)
        return
    axes.fill_between(span.epochs, span.low, span.high, color=colour, alpha=0.12, linewidth=0)
    axes.plot(span.epochs, span.mean, dash, color=colour, marker=marker, markersize=4, label=label)


def _marker(span: _Span, marker: str) -> str | None:
    return marker if len(span.epochs) <= MOST_MARKED else None


class _Point(NamedTuple):
    """One variant on a curve: its place, its accuracy, and that of each of its seeds."""

    x: float
    line: str
    accuracy: Estimate
    seeds: list[float]


def _points(experiment: Experiment, x: str) -> list[_Point]:
    points = []
    for variant in experiment.variants:
        if variant.name not in experiment.predictions:
            continue
        place = _place(variant.tested[0][1], x)
        if place is not None:
            sample = experiment.predictions[variant.name].sample
            seeds = sample.outcomes.mean(axis=1).tolist()
            points.append(_Point(place, _line(variant), bootstrap.mean(sample), seeds))
    return sorted(points, key=lambda point: point.x)


def _place(result: Result, key: str) -> float | None:
    """The number under a config key, with or without a unit, or how many pairs a batch has; None where there is none.

    The number of pairs is right where every picture has as many partners as the config asks for.
    """
    config = flatten(result["config"])
    if key == PAIRS_IN_A_BATCH:
        if config.get("model.pairs") == "all":
            return None  # as many as there are other pictures in the batch
        classes = len(result["data"]["classes"]) if result["data"] else None
        factors = [config.get("model.pairs_per_image"), config.get("data.samples_per_class"), classes]
    else:
        factors = [config.get(key)]
    factors = [_amount(factor) for factor in factors]
    numbers = [factor for factor in factors if isinstance(factor, int | float) and not isinstance(factor, bool)]
    return math.prod(numbers) if len(numbers) == len(factors) else None


def _amount(value: object) -> object:
    """The number of a text such as 600steps; any other value as it is."""
    found = _WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
    return value if found is None else float(found[1])


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
