"""Figure 4 of the paper, with intervals: the gain of a variant on pictures with small and with large objects."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fpcn_lightning.plotting import new_figure
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate, OutcomeSample
from fpcn_lightning.report.canvas import (
    COLOURS,
    MARKERS,
    MOST_TOGETHER,
    Drawing,
    ensure_span,
    error_bars,
    shortened,
    style_axes,
)
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.runs.csv_text import formula_free

BINS = 4
Area = Literal["found", "true"]
_TITLES: dict[Area, str] = {"found": "area that the reference's positioning finds", "true": "true area of the object"}


@dataclass(frozen=True)
class BinRow:
    """One variant on the test pictures of one bin.

    Attributes:
        area: by which area of the object pictures were sorted into bins.
        low: smallest share of the picture in this bin, 0..1.
        high: largest share.
        pictures: in this bin.
        accuracy: mean over seeds and pictures, 0..1.
        difference: to the reference; None for the reference itself.
    """

    area: Area
    low: float
    high: float
    pictures: int
    variant: str
    accuracy: Estimate
    difference: Estimate | None


def by_object_ratio(experiment: Experiment) -> list[BinRow]:
    """Accuracy and difference to the reference in each quarter of the test set, by the share that is object.

    The share that a network finds depends on the network and its seed. Pictures are therefore sorted by the mean over
    the seeds of the reference, so that all variants share the bins; equal shares stay in one bin, so bins may
    differ in size. Intervals are for the pictures of a bin: only these are drawn.

    Returns:
        By area, bin and variant; empty without a reference, or where no share is known.
    """
    if experiment.reference is None:
        return []
    reference = experiment.predictions[experiment.reference]
    areas: dict[Area, NDArray[np.float64]] = {
        "found": reference.object_ratio,
        "true": reference.true_object_ratio,
    }
    samples = {name: each.sample for name, each in experiment.predictions.items() if each.is_comparable(reference)}
    return [
        row
        for area, ratio in areas.items()
        for chosen in _bins(ratio)
        for row in _bin_rows(area, ratio, chosen, samples, experiment.reference)
    ]


def object_ratio_csv(experiments: Sequence[tuple[str, Sequence[BinRow]]]) -> str:
    """The rows of experiments as CSV: fractions in 0..1, nothing rounded; what is unknown is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    ends = ("", "_low", "_high")
    numbers = [f"{quantity}{end}" for quantity in ("accuracy", "difference") for end in ends]
    writer.writerow(["experiment", "area", "ratio_low", "ratio_high", "pictures", "variant", *numbers])
    for name, rows in experiments:
        for row in rows:
            estimates = (row.accuracy, row.difference)
            cells = [cell for each in estimates for cell in ((each.value, each.low, each.high) if each else [""] * 3)]
            own = [name, row.area, row.low, row.high, row.pictures, row.variant]
            writer.writerow(map(formula_free, [*own, *cells]))
    return buffer.getvalue()


def draw_object_ratio(rows: Sequence[BinRow]) -> Drawing | None:
    """Differences to the reference by bin, a panel for each area.

    None where there are none, or more than ten variants, which only a table can hold.
    """
    differences = [row for row in rows if row.difference is not None]
    areas = list(dict.fromkeys(row.area for row in differences))
    variants = list(dict.fromkeys(row.variant for row in differences))
    if not 0 < len(variants) <= MOST_TOGETHER:
        return None
    figure = new_figure(width=max(5.5, 1.5 + 0.5 * len(variants)) * len(areas), height=4.6)
    panels = figure.subplots(1, len(areas), sharey=True, squeeze=False)[0]
    for axes, area in zip(panels, areas, strict=True):
        _draw_panel(axes, [row for row in differences if row.area == area], variants)
        axes.set(title=f"By the {_TITLES[area]}", xlabel="share of the picture (%), number of pictures")
    ensure_span(panels[0], "y")
    panels[0].set_ylabel("difference to the reference (points of %)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False)
    caption = (
        "Difference to the reference in parts of the test set, by the share of the picture that is object, with 95 % "
        "intervals."
    )
    return Drawing(figure, caption)


def _bins(ratio: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    """The pictures of each bin that has any, by ascending share: masks [P]."""
    known = ~np.isnan(ratio)
    if not known.any():
        return []
    edges = np.quantile(ratio[known], np.arange(1, BINS) / BINS)
    numbers = np.where(known, np.searchsorted(edges, ratio), -1)
    return [numbers == number for number in range(BINS) if (numbers == number).any()]


def _bin_rows(
    area: Area,
    ratio: NDArray[np.float64],
    chosen: NDArray[np.bool_],
    samples: Mapping[str, OutcomeSample],
    reference: str,
) -> list[BinRow]:
    """The rows of the bin with the chosen pictures, [P]."""
    inside = {name: sample.of_pictures(chosen) for name, sample in samples.items()}
    low, high, pictures = float(ratio[chosen].min()), float(ratio[chosen].max()), int(chosen.sum())
    return [
        BinRow(
            area=area,
            low=low,
            high=high,
            pictures=pictures,
            variant=name,
            accuracy=bootstrap.mean(sample),
            difference=None if name == reference else bootstrap.difference(sample, inside[reference]),
        )
        for name, sample in inside.items()
    ]


def _draw_panel(axes: Axes, rows: Sequence[BinRow], variants: Sequence[str]) -> None:
    bins = sorted({(row.low, row.high, row.pictures) for row in rows})
    for number, variant in enumerate(variants):
        own = [row for row in rows if row.variant == variant]
        offset = 0.7 * ((number + 0.5) / len(variants) - 0.5)
        places = [bins.index((row.low, row.high, row.pictures)) + offset for row in own]
        estimates = [row.difference for row in own if row.difference]
        axes.errorbar(
            places,
            [100 * each.value for each in estimates],
            yerr=error_bars(estimates),
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=5,
            linestyle="none",
            capsize=2,
            label=shortened(variant),
        )
    axes.axhline(0, color="0.3", linewidth=1)
    for edge in range(1, len(bins)):
        axes.axvline(edge - 0.5, color="0.85", linewidth=1)
    labels = [f"{100 * low:.0f} to {100 * high:.0f}\n{pictures} pictures" for low, high, pictures in bins]
    axes.set_xticks(range(len(bins)), labels)
    style_axes(axes)
    axes.grid(visible=False, axis="x")
