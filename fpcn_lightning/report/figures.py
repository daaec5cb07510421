"""Figures of a run: its confusion matrix and its learning curves.

The suffix of the path chooses the format: .png, .svg, .pdf and whatever else matplotlib writes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from fpcn_lightning.errors import UserError
from fpcn_lightning.plotting import new_figure, save
from fpcn_lightning.report.canvas import COLOURS, MOST_MARKED, shortened, style_axes
from fpcn_lightning.report.curves import EpochValues, logged, read_curves

# The dash distinguishes them in grey print as well.
_STYLES = {"train": (COLOURS[0], "--"), "val": (COLOURS[1], "-")}
_LEGEND = {"train": "training", "val": "validation"}
MOST_CLASSES = 40  # of a confusion matrix that is drawn cell by cell
MOST_CONFUSIONS = 30  # that are drawn instead
_POINTS_PER_INCH = 72
_INCHES_PER_LETTER = 0.08  # of a tick label at matplotlib's default size of 10 points


def confusion_matrix(matrix: ArrayLike, classes: Sequence[str], path: Path) -> None:
    """Draw counts in the cells and, as colour, the share of each true class in percent.

    Beyond `MOST_CLASSES` classes, cells would be too many and too small: the most frequent confusions are drawn.

    Args:
        matrix: (classes, classes) counts, true class in rows, predicted class in columns.
        classes: names in label order; long ones are shortened in the middle.
        path: file to write.

    Raises:
        ValueError: `matrix` is not square or does not fit `classes`.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    number = len(classes)
    if counts.shape != (number, number):
        raise ValueError(f"a confusion matrix of shape {counts.shape} does not fit {number} classes")
    if number > MOST_CLASSES:
        _draw_top_confusions(counts, classes, path)
        return
    # A class without images has an empty row: 0 %, not a division by zero.
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = float(np.clip(7 / number, 0.34, 1.5))
    names = [shortened(name) for name in classes]
    longest = _INCHES_PER_LETTER * max(map(len, names))
    upright = longest > 0.9 * cell
    width, height = number * cell + longest + 2.2, number * cell + (longest if upright else 0.2) + 0.9
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    _write_cells(axes, counts, percent, cell)
    # parse_math: a dollar sign in a folder name is no formula.
    axes.set_xticks(range(number), names, rotation=90 if upright else 0, parse_math=False)
    axes.set_yticks(range(number), names, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class", title=_accuracy_title(counts))
    edges = np.arange(0.5, number - 1)
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.5)
    axes.tick_params(which="both", length=0)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8, aspect=30)
    # The square cells fix the size of the axes; the page follows them, so that no label is cut.
    save(figure, path, dpi=150, bbox_inches="tight")


def _draw_top_confusions(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Draw a bar for each of the most frequent pairs of a true class and another that was predicted."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSIONS]
    pairs = [(int(true), int(predicted)) for true, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True)]
    pairs = [pair for pair in pairs if wrong[pair]]
    figure = new_figure(width=9, height=1.6 + 0.24 * max(len(pairs), 3))
    axes = figure.add_subplot()
    axes.barh(range(len(pairs)), [wrong[pair] for pair in pairs], color=COLOURS[1], height=0.7)
    labels = [f"{shortened(classes[true])} as {shortened(classes[predicted])}" for true, predicted in pairs]
    axes.set_yticks(range(len(pairs)), labels, parse_math=False)
    axes.invert_yaxis()
    for place, pair in enumerate(pairs):
        share = f" {wrong[pair]} ({wrong[pair] / counts[pair[0]].sum():.0%} of the class)"
        axes.text(wrong[pair], place, share, va="center", fontsize=8)
    axes.margins(x=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    shown, every = sum(int(wrong[pair]) for pair in pairs), int(wrong.sum())
    title = (
        f"{_accuracy_title(counts)}, {len(classes)} classes\n{shown} of {every} errors in the most frequent confusions"
    )
    axes.set(xlabel="images (true class as predicted class)", title=title)
    style_axes(axes)
    save(figure, path, dpi=150)


def learning_curves(metrics_csv: Path, path: Path) -> None:
    """Draw loss and accuracy against the epoch, for training and validation, and mark the best validation epoch.

    The best epoch is the first with the highest validation accuracy, or the lowest validation loss where no accuracy
    was logged. A quantity that was not logged is skipped.

    Args:
        metrics_csv: `metrics.csv` of Lightning's CSVLogger.
        path: file to write.

    Raises:
        UserError: `metrics_csv` cannot be read, or has neither loss nor accuracy.
    """
    curves = read_curves(metrics_csv)
    panels = {
        quantity: {split: values for split in _STYLES if (values := logged(curves, f"{split}/{quantity}"))}
        for quantity in ("loss", "accuracy")
    }
    if not any(panels.values()):
        raise UserError(f"{metrics_csv} has neither loss nor accuracy. Train for one epoch at least.")
    best = _best_epoch(panels["loss"].get("val", {}), panels["accuracy"].get("val", {}))
    figure = new_figure(width=10, height=4)
    legend: dict[str, Artist] = {}
    for axes, (quantity, splits) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        _draw_panel(axes, quantity, splits, best)
        handles, labels = axes.get_legend_handles_labels()
        legend |= dict(zip(labels, handles, strict=True))
    # Below the panels, where no curve can run through it.
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), frameon=False)
    save(figure, path, dpi=150)


def _accuracy_title(counts: np.ndarray) -> str:
    total = int(counts.sum())
    return f"{np.trace(counts) / total:.1%} of {total} images correct" if total else "no images"


def _write_cells(axes: Axes, counts: np.ndarray, percent: np.ndarray, cell: float) -> None:
    """Write each count into its cell of `cell` inches, with the percentage below it where there is room."""
    with_percent = cell > 0.6
    # Digits are about 0.6 of the font size wide; a fifth of the cell stays free.
    digits = max(3, len(str(counts.max())))
    size = min(11.0, 0.8 * cell * _POINTS_PER_INCH / (0.6 * digits))
    for row, column in np.argwhere(counts > 0):
        share = percent[row, column]
        text = f"{counts[row, column]}\n{share:.0f} %" if with_percent else str(counts[row, column])
        colour = "white" if share > 55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _best_epoch(loss: EpochValues, accuracy: EpochValues) -> int | None:
    # The first of equals, as ModelCheckpoint keeps it; epochs ascend.
    scores = accuracy or {epoch: -value for epoch, value in loss.items()}
    finite = {epoch: score for epoch, score in scores.items() if math.isfinite(score)}
    return max(finite, key=finite.__getitem__, default=None)


def _draw_panel(axes: Axes, quantity: str, splits: Mapping[str, EpochValues], best: int | None) -> None:
    scale, unit = (100, " (%)") if quantity == "accuracy" else (1, "")
    for split, by_epoch in splits.items():
        colour, dash = _STYLES[split]
        # A single epoch has no line.
        marker = "o" if len(by_epoch) <= MOST_MARKED else None
        values = [scale * value for value in by_epoch.values()]
        axes.plot(list(by_epoch), values, dash, color=colour, marker=marker, markersize=4, label=_LEGEND[split])
    if best is not None and splits:
        axes.axvline(best, color="0.4", linewidth=1, linestyle=":", label=f"best validation epoch: {best}", zorder=0)
    if not splits:
        axes.text(0.5, 0.5, "not logged", ha="center", va="center", color="0.4", transform=axes.transAxes)
    axes.set(xlabel="epoch", ylabel=quantity + unit, title=quantity.capitalize())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    style_axes(axes)
