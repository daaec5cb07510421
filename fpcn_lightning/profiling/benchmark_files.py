"""The files of a benchmark: a table as Markdown, CSV and JSON, and one page."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fpcn_lightning.profiling.processor import IDLE
from fpcn_lightning.profiling.results import BenchmarkRow, as_table
from fpcn_lightning.report.summary_page import SummaryPage, write_summary_page
from fpcn_lightning.report.text_table import to_markdown
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.csv_text import formula_free

NAME = "benchmark"
COLUMNS = ("part", "what", "unit", "median", "low", "high", "ratio", "ratio_low", "ratio_high", "reference", "note")
_NOTES = (
    "Median and quartiles of the rounds. A ratio is that of two things that were measured in turns, round by round; "
    "above 1 is more time, more memory, or more images a second.",
    "loader: images of one process with one thread. step: forward pass, loss, backward pass and optimiser on a batch "
    "in memory. shares: of a step with batches of the loader. inference: one image. start: until the command has done "
    "what it was asked to. plan: the configured training with its validations, images in the cache.",
)


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        rows: of the table.
        machine: processor, threads, packages and commit, as a sentence.
        facts: the same as plain data, for the JSON.
    """

    rows: Sequence[BenchmarkRow]
    machine: str
    facts: dict[str, Any]

    @cached_property
    def verdict(self) -> list[str]:
        """What the rows say, in sentences, the most important one first."""
        found = [
            f"The {row.what} takes about {row.value.median:,.1f} minutes ({row.note})."
            for row in self.rows
            if row.unit == "minutes" and row.value is not None
        ]
        for row in self.rows:
            if row.ratio is None:
                continue
            if row.part == "step" and row.unit == "ms an image":
                found.append(f"Time of a step, {row.what}: {row.ratio.median:.2f} times {row.reference}.")
            elif row.part == "loader":
                found.append(f"Loader, {row.what}: {row.ratio.median:.1f} times {row.reference}.")
        load = self.facts.get("load_of_core")
        if load is not None and load > IDLE:
            found.append(
                f"Measured under load: the machine did other work (load of a core {load:g}), which makes steps of "
                "several threads many times slower. Measure again when it is idle."
            )
        return found or ["No part that was measured says how long a training takes: see the table."]


def write_benchmark(measured: Benchmark, folder: Path) -> Path:
    """Write `benchmark.json`, `benchmark.csv`, `benchmark.md` and the page, whose path is returned.

    Raises:
        WriteError: a file cannot be written.
    """
    content = {**measured.facts, "rows": [row.plain() for row in measured.rows]}
    write_text_atomically(folder / f"{NAME}.json", json.dumps(content, indent=2) + "\n")
    write_text_atomically(folder / f"{NAME}.csv", _csv(measured.rows))
    write_text_atomically(folder / f"{NAME}.md", to_markdown(as_table(measured.rows)))
    parts = list(dict.fromkeys(row.part for row in measured.rows))
    tables = [as_table([row for row in measured.rows if row.part == part]) for part in parts]
    title = f"What this machine does with {measured.facts['network']}"
    return write_summary_page(SummaryPage(title, [*measured.verdict, measured.machine], tables, notes=_NOTES), folder)


def _csv(rows: Sequence[BenchmarkRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        numbers = [
            number
            for value in (row.value, row.ratio)
            for number in (("", "", "") if value is None else (value.median, value.low, value.high))
        ]
        cells = [row.part, row.what, row.unit, *numbers, row.reference or "", row.note]
        writer.writerow([formula_free(cell) for cell in cells])
    return text.getvalue()
