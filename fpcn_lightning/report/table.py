"""One table from many runs: a row for each experiment, variant and reading, over its seeds.

Only runs that differ in nothing but the seed are averaged; a run that failed or still runs keeps a row of its own.
"""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.results import Result
from fpcn_lightning.report.sameness import decisive

NOT_KNOWN = "-"
_PAGE_WIDTH = 1000  # characters; more than any row

Run = tuple[Path, Result]


@dataclass(frozen=True)
class Row:
    """The test results of one variant under one reading; every number is None if no run finished.

    Attributes:
        seeds: seeds averaged, ascending.
        images: size of the test set.
        accuracy: mean over seeds, 0..1.
        accuracy_deviation: sample standard deviation over seeds; None with a single seed.
        accuracy_standard_error: binomial, of one test set at the mean accuracy; None at accuracy 0 or 1, where the
            formula would claim certainty.
        macro_f1: mean over seeds, 0..1.
        gmac: 1e9 multiply-accumulates of one image.
        seconds: mean time of training.
    """

    experiment: str
    variant: str
    reading: str | None
    seeds: tuple[int, ...]
    status: str
    error: str | None = None
    images: int | None = None
    accuracy: float | None = None
    accuracy_deviation: float | None = None
    accuracy_standard_error: float | None = None
    macro_f1: float | None = None
    parameters: int | None = None
    gmac: float | None = None
    seconds: float | None = None


def summarise(results: Iterable[Run]) -> list[Row]:
    """Aggregate (run folder, result) pairs over seeds.

    Returns:
        Rows sorted by experiment and variant; within a variant the configured reading first, runs without test
        results last, one row each.

    Raises:
        UserError: runs of one variant differ in more than the seed, or one seed occurs twice.
    """
    ordered = sorted(results, key=lambda run: (*_variant(run), run[1]["seed"]))
    return [row for _, runs in groupby(ordered, key=_variant) for row in _variant_rows(list(runs))]


def to_markdown(rows: Sequence[Row]) -> str:
    """Format rows as a Markdown table, padded so that it also reads well as plain text."""
    cells = [[cell.replace("|", r"\|") for cell in _cells(row).values()] for row in rows]
    header = list(_cells(_NO_ROW))
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    rule = ["-" * width for width in widths]
    lines = (
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in (header, rule, *cells)
    )
    return "".join(f"| {line} |\n" for line in lines)


def to_csv(rows: Sequence[Row]) -> str:
    """Format rows as CSV for other programs: columns are the attributes of `Row`, fractions in 0..1, nothing rounded.

    Seeds are separated by spaces; what is not known is an empty cell.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(row), "seeds": " ".join(map(str, row.seeds))} for row in rows)
    return buffer.getvalue()


def print_table(rows: Sequence[Row]) -> None:
    """Print rows to the terminal, as a rich table, or as Markdown where rich is not installed."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print(to_markdown(rows))
        return
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    lines = [_cells(row) for row in rows]
    for heading in _cells(_NO_ROW):
        # Headings are wrapped between words, cells never.
        width = max(map(len, [*heading.split(), *(line[heading] for line in lines)]))
        table.add_column(heading, justify="left" if heading in _TEXT_HEADINGS else "right", width=width)
    for line in lines:
        # Text, because an error message may hold square brackets, which rich reads as markup.
        table.add_row(*map(Text, line.values()))
    # Fitted to a narrow screen, rich would cut numbers and leave out columns: let the screen break the lines instead.
    Console(width=_PAGE_WIDTH).print(table)


def _variant(run: Run) -> tuple[str, str]:
    return run[1]["experiment"], run[1]["variant"]


def _variant_rows(runs: Sequence[Run]) -> list[Row]:
    tested = [run for run in runs if run[1]["status"] == "finished" and _readings(run[1])]
    _refuse_unlike(tested)
    names = {name for _, result in tested for name in _readings(result)}
    configured = {result["reading"] for _, result in tested}
    rows = [
        _mean_row(name, [result for _, result in tested if name in _readings(result)])
        for name in sorted(names, key=lambda name: (name not in configured, name))
    ]
    return rows + [_blank_row(result) for folder, result in runs if (folder, result) not in tested]


def _readings(result: Result) -> Iterable[str]:
    return result["metrics"]["test"] if result["metrics"] else ()


def _mean_row(reading: str, results: Sequence[Result]) -> Row:
    metrics = [result["metrics"]["test"][reading] for result in results if result["metrics"]]
    accuracies = [one["accuracy"] for one in metrics]
    accuracy = statistics.fmean(accuracies)
    images = metrics[0]["images"]
    seconds = [result["seconds"]["fit"] for result in results]
    network = results[0]["network"]
    return Row(
        experiment=results[0]["experiment"],
        variant=results[0]["variant"],
        reading=reading,
        seeds=tuple(result["seed"] for result in results),
        status="finished",
        images=images,
        accuracy=accuracy,
        accuracy_deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        accuracy_standard_error=math.sqrt(accuracy * (1 - accuracy) / images) if 0 < accuracy < 1 else None,
        macro_f1=statistics.fmean(one["macro_f1"] for one in metrics),
        parameters=network["parameters"] if network else None,
        gmac=network["macs"] / 1e9 if network else None,
        seconds=_mean_or_none(seconds),
    )


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _blank_row(result: Result) -> Row:
    status = "not tested" if result["status"] == "finished" else result["status"]
    return Row(result["experiment"], result["variant"], result["reading"], (result["seed"],), status, result["error"])


def _refuse_unlike(runs: Sequence[Run]) -> None:
    """Raise a UserError unless all runs agree with the first in everything but the seed, and no seed repeats."""
    for folder, result in runs[1:]:
        first_folder, first = runs[0]
        expected, found = _identity(first), _identity(result)
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key, "absent") != found.get(key, "absent"):
                raise UserError(
                    f"{first_folder} and {folder} differ in more than the seed: '{key}' is "
                    f"{expected.get(key, 'absent')!r} in the first and {found.get(key, 'absent')!r} in the second. "
                    "Give one of them another variant name, or remove it."
                )
    folder_of_seed: dict[int, Path] = {}
    for folder, result in runs:
        twin = folder_of_seed.setdefault(result["seed"], folder)
        if twin is not folder:
            raise UserError(
                f"{twin} and {folder} are the same variant with the same seed {result['seed']}: one sample, not two. "
                "Give one of them another variant name, or remove it."
            )


def _identity(result: Result) -> dict[str, object]:
    """What must agree before two runs are averaged, by dotted key."""
    identity = {key: value for key, value in decisive(result["config"]).items() if key != "seed"}
    if result["data"]:
        identity["data fingerprint"] = result["data"]["fingerprint"]
    if result["network"]:
        identity["network parameters"] = result["network"]["parameters"]
        identity["network macs"] = result["network"]["macs"]
    return identity


def _cells(row: Row) -> dict[str, str]:
    """The cells of `row` by heading, for a reader: percent, with no more digits than the error carries."""
    decimals = _decimals(row.accuracy_standard_error)
    accuracy = _percent(row.accuracy, decimals)
    if row.accuracy_standard_error is not None:
        accuracy += f" ± {_percent(row.accuracy_standard_error, decimals)}"
    return {
        "experiment": row.experiment,
        "variant": row.variant,
        "reading": row.reading or NOT_KNOWN,
        "seeds": " ".join(map(str, row.seeds)),
        "accuracy % ± binomial SE": accuracy,
        "SD over seeds": _percent(row.accuracy_deviation, _decimals(row.accuracy_deviation)),
        "macro-F1 %": _percent(row.macro_f1, decimals),
        "parameters": NOT_KNOWN if row.parameters is None else f"{row.parameters:,}",
        "GMAC": NOT_KNOWN if row.gmac is None else f"{row.gmac:.3g}",
        "seconds": NOT_KNOWN if row.seconds is None else f"{row.seconds:.{0 if row.seconds >= 10 else 1}f}",
        "status": f"{row.status}: {_first_line(row.error)}" if row.error else row.status,
    }


_NO_ROW = Row("", "", None, (), "")
_TEXT_HEADINGS = frozenset({"experiment", "variant", "reading", "seeds", "status"})


def _decimals(error: float | None) -> int:
    # An error of ten points or more leaves nothing to say behind the decimal point.
    return 0 if error is not None and error >= 0.0995 else 1


def _percent(fraction: float | None, decimals: int) -> str:
    return NOT_KNOWN if fraction is None else f"{100 * fraction:.{decimals}f}"


def _first_line(message: str, length: int = 80) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= length else line[: length - 1] + "…"
