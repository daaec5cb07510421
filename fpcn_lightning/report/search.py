"""The outcome of a search: its trials as CSV and Markdown, best first, and accuracy against each searched key.

Accuracies are those of the best epoch on validation. A search never uses the test split.
"""

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fpcn_lightning.plotting import new_figure
from fpcn_lightning.report.canvas import COLOURS, save_figure, style_axes
from fpcn_lightning.report.formats import NOT_KNOWN, first_line, seconds_cell
from fpcn_lightning.report.page_figure import chart, failures_as_warnings
from fpcn_lightning.report.summary_page import SummaryPage, write_summary_page
from fpcn_lightning.report.text_table import TextTable, to_markdown
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.csv_text import formula_free

_COLUMNS = 3  # panels beside each other
_CAPTION = "Validation accuracy against each key, with binomial standard errors."
_ABOUT_ERRORS = "± is the binomial standard error on the validation pictures; the spread over seeds is not in it."

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Trial:
    """One trial of a search; trial 0 has the config's own values.

    Attributes:
        values: by dotted key, what the search set it to.
        accuracy: on validation, 0..1; None unless the trial finished.
        images: size of the validation set.
        seconds: of training.
        error: why it failed.
    """

    number: int
    values: Mapping[str, Value]
    state: Literal["finished", "failed", "unfinished"]
    accuracy: float | None = None
    images: int | None = None
    seconds: float | None = None
    error: str | None = None

    @property
    def standard_error(self) -> float | None:
        """Binomial; None at accuracy 0 or 1, where the formula would claim certainty."""
        if self.accuracy is None or not self.images or not 0 < self.accuracy < 1:
            return None
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.images)


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """Finished trials, the best first and the earlier first among equals; then all others by number."""
    return sorted(trials, key=lambda trial: (trial.accuracy is None, -(trial.accuracy or 0), trial.number))


def selection_bias(trials: int, standard_error: float) -> float:
    """The expected gain, by chance alone, of the best of so many equally good trials with independent errors.

    Blom's approximation to the expected maximum of normal variables.
    """
    return standard_error * NormalDist().inv_cdf((trials - 0.375) / (trials + 0.25))


def write_search(folder: Path, trials: Sequence[Trial], log_keys: Collection[str], command: str | None) -> str:
    """Write `trials.csv`, `trials.md`, `index.html`, and `figures/search.png` and `.svg` where a trial finished.

    A figure that cannot be drawn is left out with a warning.

    Args:
        folder: the folder of the search.
        trials: in any order.
        log_keys: keys that are drawn on a logarithmic axis.
        command: the line that trains the best values; None where no trial finished.

    Returns:
        The text of `trials.md`.
    """
    text = trials_markdown(trials, command)
    write_text_atomically(folder / "trials.md", text)
    write_text_atomically(folder / "trials.csv", trials_csv(trials))
    figures = []
    if any(trial.accuracy is not None for trial in trials):
        with failures_as_warnings("the figure of the search"):
            save_figure(draw(trials, log_keys), folder / "figures", "search")
            figures.append(chart(folder / "figures" / "search.svg", _CAPTION))
    verdict = _summary(trials).splitlines()
    page = SummaryPage(f"Search {folder.name}", verdict, [_table(trials)], figures, command, [_ABOUT_ERRORS])
    write_summary_page(page, folder)
    return text


def trials_markdown(trials: Sequence[Trial], command: str | None) -> str:
    """The result and its uncertainty, the table of all trials, and the command that trains the best."""
    table = to_markdown(_table(trials))
    last = f"\nTrain the best values with three seeds, and test them:\n\n    {command}\n" if command else ""
    return f"{_summary(trials)}\n{table}{last}"


def _table(trials: Sequence[Trial]) -> TextTable:
    keys = _keys(trials)
    header = ["trial", *keys, "validation accuracy % ± binomial SE", "seconds", "state"]
    return TextTable(header, [_cells(trial, keys) for trial in ranked(trials)], {"state": "message"})


def trials_csv(trials: Sequence[Trial]) -> str:
    """Format trials as CSV for other programs, best first: fractions in 0..1, nothing rounded."""
    buffer = io.StringIO()
    attributes = ("number", "state", "accuracy", "standard_error", "images", "seconds", "error")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(formula_free, [*attributes, *_keys(trials)]))
    for trial in ranked(trials):
        values = [trial.values.get(key) for key in _keys(trials)]
        writer.writerow(map(formula_free, [*(getattr(trial, name) for name in attributes), *values]))
    return buffer.getvalue()


def draw(trials: Sequence[Trial], log_keys: Collection[str]) -> Figure:
    """Draw validation accuracy with its binomial error against each key; defaults and best trial are highlighted.

    Raises:
        ValueError: no trial finished.
    """
    finished = [trial for trial in ranked(trials) if trial.accuracy is not None]
    if not finished:
        raise ValueError("no trial finished: there is nothing to draw")
    keys = _keys(trials)
    columns = min(_COLUMNS, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(max(5.5, 3.6 * columns), 3.2 * rows + 0.5)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, key in zip(grid.flat, keys, strict=False):
        _draw_panel(axes, key, finished, logarithmic=key in log_keys)
    for axes in grid.flat[len(keys) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("validation accuracy (%)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_panel(axes: Axes, key: str, finished: Sequence[Trial], *, logarithmic: bool) -> None:
    best = finished[0]
    # Numbers lie on a scale, choices are listed by name.
    numbers = all(isinstance(trial.values[key], float) or type(trial.values[key]) is int for trial in finished)
    for colour, marker, size, label, group in (
        (COLOURS[0], "o", 5, "trial", [trial for trial in finished if trial is not best and trial.number != 0]),
        (COLOURS[4], "D", 7, "the config's own values", [trial for trial in finished if trial.number == 0]),
        (COLOURS[1], "*", 13, f"best: trial {best.number}", [best]),
    ):
        if not group:
            continue
        axes.errorbar(
            [_place(trial.values[key], numbers) for trial in group],
            [100 * (trial.accuracy or 0) for trial in group],
            yerr=[100 * (trial.standard_error or 0) for trial in group],
            fmt=marker,
            color=colour,
            markersize=size,
            elinewidth=0.8,
            label=label,
        )
    axes.set_xlabel(key, parse_math=False)
    if logarithmic:
        axes.set_xscale("log")
    style_axes(axes)


def _place(value: Value, numbers: bool) -> float | str:
    return value if numbers and isinstance(value, int | float) else _value(value)


def _keys(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(key for trial in trials for key in trial.values))


def _cells(trial: Trial, keys: Sequence[str]) -> list[str]:
    return [
        str(trial.number),
        *(_value(trial.values[key]) if key in trial.values else NOT_KNOWN for key in keys),
        _accuracy(trial),
        seconds_cell(trial.seconds),
        f"{trial.state}: {first_line(trial.error)}" if trial.error else trial.state,
    ]


def _value(value: Value) -> str:
    """As the command line accepts it, with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _accuracy(trial: Trial) -> str:
    if trial.accuracy is None:
        return NOT_KNOWN
    error = "" if trial.standard_error is None else f" ± {100 * trial.standard_error:.1f}"
    return f"{100 * trial.accuracy:.1f}{error}"


def _summary(trials: Sequence[Trial]) -> str:
    finished = [trial for trial in ranked(trials) if trial.accuracy is not None]
    if not finished:
        return "No trial has finished.\n"
    best, accuracy = finished[0], finished[0].accuracy or 0
    lines = [f"Best of {len(finished)}: trial {best.number}, {_accuracy(best)} % of {best.images} validation pictures."]
    own = next((trial for trial in finished if trial.number == 0), None)
    if own is best:
        lines.append("It is trial 0, the config's own values: the search found nothing better.")
    elif own is not None:
        gain = 100 * (accuracy - (own.accuracy or 0))
        lines.append(f"Trial 0, the config's own values, has {_accuracy(own)} %: {gain:.1f} points less.")
    if len(finished) > 1 and best.images:
        # At the mean of all: the best one's own error is too small near 100 %.
        middle = fmean(trial.accuracy or 0 for trial in finished)
        points = 100 * selection_bias(len(finished), math.sqrt(middle * (1 - middle) / best.images))
        lines.append(
            f"The accuracy of the best of many trials is optimistic: if all {len(finished)} were equally good, the "
            f"choice on these validation pictures alone would raise it by about {points:.1f} points, and that of the "
            "seed by more. The test split was not used."
        )
    return "\n".join(lines) + "\n"
