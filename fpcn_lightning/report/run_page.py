"""The page of a single run or evaluation: verdict, results, classes, worst mistakes, training curves, notes.

It is made from the files in the run folder and from nothing else, and can be made again at any time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.html_pages import templates
from fpcn_lightning.report.bootstrap import LEVEL, REPLICATES
from fpcn_lightning.report.class_table import class_tables
from fpcn_lightning.report.curves import METRICS_NAME
from fpcn_lightning.report.formats import NOT_KNOWN, percent, seconds_cell, three_digits
from fpcn_lightning.report.mistakes import ShownMistake, shown_mistakes
from fpcn_lightning.report.page_figure import PageFigure, chart, failures_as_warnings
from fpcn_lightning.report.provenance import facts, shared_config
from fpcn_lightning.report.text_table import Kind, TextTable
from fpcn_lightning.report.verdict import run_accuracy, run_title, run_verdict
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.folders import PAGE_NAME
from fpcn_lightning.runs.results import Metrics, Result, Run

CONFUSION_NAME, CURVES_NAME = "confusion_matrix.png", "learning_curves.png"
_MOST_CLASSES = 20  # in the table that is always open
_NO_TABLE = TextTable([], [], {})
_SPLIT_KINDS: dict[str, Kind] = {"split": "text"}


@dataclass(frozen=True)
class RunPage:
    """What the page shows, as its template reads it.

    Attributes:
        verdict: sentences, the most important one first.
        results: a line for each split that was evaluated.
        modes: the same for every inference mode, where there are several.
        classes: accuracy by class, the worst first.
        further_classes: the rest of it.
        confusion: the figure of the confusion matrix, if it could be drawn.
        mistakes: the worst ones.
        curves: the figure of the training, if there was one.
        cost: by name.
        command: that starts the run again.
        error: of a run that failed, in full.
        facts: where the numbers come from.
        config: of the run, flat.
        notes: footnotes.
    """

    verdict: Sequence[str]
    results: TextTable
    modes: TextTable | None
    classes: TextTable
    further_classes: TextTable
    confusion: Sequence[PageFigure]
    mistakes: Sequence[ShownMistake]
    curves: Sequence[PageFigure]
    cost: dict[str, str]
    command: str | None
    error: str | None
    facts: dict[str, list[str]]
    config: dict[str, str]
    notes: Sequence[str]


def write_run_page(run: Run) -> Path:
    """Draw the figures of a run, and write its `index.html`; a figure that cannot be drawn is left out with a warning.

    Raises:
        WriteError: the page cannot be written.
    """
    folder, result = run
    page = _page(run)
    title = f"{result['experiment']}: {run_title(result)}"
    html = templates("fpcn_lightning.report").get_template("run.html.jinja").render(title=title, page=page)
    return write_text_atomically(folder / PAGE_NAME, html, errors="replace")


def _page(run: Run) -> RunPage:
    folder, result = run
    tested = _tested(result)
    classes = result["data"]["classes"] if result["data"] else []
    matrix = tested["confusion"] if tested else []
    first, further = class_tables(matrix, classes, _MOST_CLASSES) if tested else (_NO_TABLE, _NO_TABLE)
    confusion, curves = [], []
    # matplotlib, which takes longer to import than the page of a run that failed at once takes to write, only if used.
    if tested:
        from fpcn_lightning.report.figures import confusion_matrix

        confusion = _drawn(
            lambda path: confusion_matrix(matrix, classes, path),
            folder / CONFUSION_NAME,
            "Test pictures by true and predicted class.",
        )
    if (folder / METRICS_NAME).exists() and result["epochs"]:
        from fpcn_lightning.report.figures import learning_curves

        caption = "Loss and accuracy after each epoch."
        curves = _drawn(lambda path: learning_curves(folder / METRICS_NAME, path), folder / CURVES_NAME, caption)
    several = any(len(by_mode) > 1 for _, by_mode in _splits(result))
    return RunPage(
        verdict=run_verdict(run),
        results=_results(run),
        modes=_all_modes(result) if several else None,
        classes=first,
        further_classes=further,
        confusion=confusion,
        mistakes=shown_mistakes(run) if tested else [],
        curves=curves,
        cost=_cost(result),
        command=result.get("command"),
        error=result["error"],
        facts=facts([result]),
        config=shared_config([result]),
        notes=_notes(result, tested),
    )


def _drawn(draw: Callable[[Path], None], path: Path, caption: str) -> list[PageFigure]:
    """The figure, or nothing where it cannot be drawn."""
    found = []
    path.unlink(missing_ok=True)
    with failures_as_warnings(str(path)):
        draw(path)
        found.append(chart(path, caption))
    return found


def _tested(result: Result) -> Metrics | None:
    mode = result["inference_mode"]
    return result["metrics"]["test"].get(mode) if result["metrics"] and mode else None


def _results(run: Run) -> TextTable:
    """Test and validation under the configured inference mode, few columns."""
    _, result = run
    mode, lines = result["inference_mode"], []
    for split, by_mode in _splits(result):
        if mode in by_mode:
            accuracy = run_accuracy(run) if split == "test" else None
            interval = f"[{percent(accuracy.low)}, {percent(accuracy.high)}]" if accuracy else NOT_KNOWN
            lines.append([split, *_cells(by_mode[mode], interval)])
    return TextTable(["split", "pictures", "accuracy %", "95 % interval", "macro-F1 %", "loss"], lines, _SPLIT_KINDS)


def _splits(result: Result) -> list[tuple[str, dict[str, Metrics]]]:
    metrics = result["metrics"]
    return [("test", metrics["test"]), ("validation", metrics["val"])] if metrics else []


def _all_modes(result: Result) -> TextTable:
    lines = []
    for split, by_mode in _splits(result):
        for mode, metrics in by_mode.items():
            pictures, accuracy, _, *rest = _cells(metrics, "")
            lines.append([split, mode, pictures, accuracy, *rest])
    headings = ["split", "inference mode", "pictures", "accuracy %", "macro-F1 %", "loss"]
    return TextTable(headings, lines, {**_SPLIT_KINDS, "inference mode": "text"})


def _cells(metrics: Metrics, interval: str) -> list[str]:
    loss = NOT_KNOWN if metrics["loss"] is None else f"{metrics['loss']:.3f}"
    return [f"{metrics['images']:,}", percent(metrics["accuracy"]), interval, percent(metrics["macro_f1"]), loss]


def _cost(result: Result) -> dict[str, str]:
    network, seconds = result["network"], result["seconds"]
    found = {
        "epochs": None if result["epochs"] is None else str(result["epochs"]),
        "seconds of training": seconds_cell(seconds["fit"]) if seconds["fit"] is not None else None,
        "parameters": f"{network['parameters']:,}" if network else None,
        "GMAC": three_digits(network["macs"] / 1e9) if network else None,
        "milliseconds a view": three_digits(network["milliseconds"]) if network and "milliseconds" in network else None,
        "started": result["started"],
    }
    return {name: value for name, value in found.items() if value is not None}


def _notes(result: Result, tested: Metrics | None) -> list[str]:
    notes = []
    if tested:
        notes += [
            f"The interval of the accuracy is a {100 * LEVEL:.0f} % percentile bootstrap interval over test pictures "
            f"({REPLICATES:,} replicates; copies and pictures of one group are drawn as a whole), and Wilson's where "
            "all predictions are right or all are wrong. The spread over seeds is not in it: train with several.",
            "Chance predicts every class equally often. Intervals of single classes are Wilson's, as if their pictures "
            "were independent.",
        ]
    if result["epochs"]:
        notes.append(
            "Epochs count from 1. The epoch with the best validation accuracy is tested, so that the accuracy on "
            "validation is optimistic."
        )
    if result["code"]["dirty"]:
        notes.append("The run comes from a checkout with uncommitted changes.")
    return notes
