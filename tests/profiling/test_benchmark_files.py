"""The files of a benchmark say what was measured, against what, and why something was not."""

import csv
import json
from pathlib import Path

from fpcn_lightning.profiling.benchmark_files import COLUMNS, Benchmark, write_benchmark
from fpcn_lightning.profiling.results import BenchmarkRow, missing, rates
from fpcn_lightning.profiling.rounds import Spread, spread

ROWS = [
    *rates("loader", {"PIL": [2.0, 4.0], "this package": [1.0, 1.0]}, 100, "images/s", "PIL"),
    BenchmarkRow("step", "plain", "ms an image", spread([10.0]), spread([1.25]), "bare backbone"),
    missing("step", "plain, compile", "ms an image", "InductorError: no C compiler <here>"),
    BenchmarkRow("plan", "training of plain", "minutes", spread([12.34]), note="8 epochs of 13 steps"),
]


def test_rates_are_compared_round_by_round() -> None:
    reference, ours = ROWS[:2]
    assert reference.value == Spread(37.5, 31.25, 43.75)
    assert (reference.ratio, reference.reference) == (None, None)
    assert (ours.value, ours.ratio, ours.reference) == (spread([100.0]), Spread(3.0, 2.5, 3.5), "PIL")


def test_table_page_csv_and_json_have_every_row(tmp_path: Path) -> None:
    measured = Benchmark(ROWS, "Xeon, 2 cores; commit 1234.", {"network": "plain on resnet50", "threads": 2})
    page = write_benchmark(measured, tmp_path).read_text(encoding="utf-8")
    assert "The training of plain takes about 12.3 minutes (8 epochs of 13 steps)." in page
    assert "Time of a step, plain: 1.25 times bare backbone." in page
    assert "Loader, this package: 3.0 times PIL." in page
    for text in ("plain on resnet50", "Xeon, 2 cores; commit 1234.", "no C compiler &lt;here&gt;", "not measured"):
        assert text in page
    with (tmp_path / "benchmark.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["median"] for row in rows] == ["37.5", "100.0", "10.0", "", "12.34"]
    assert (rows[1]["ratio_low"], rows[1]["reference"]) == ("2.5", "PIL")
    content = json.loads((tmp_path / "benchmark.json").read_text(encoding="utf-8"))
    assert content["threads"] == 2
    assert content["rows"][3]["value"] is None
    assert content["rows"][1]["ratio"] == {"median": 3.0, "low": 2.5, "high": 3.5}
    assert len((tmp_path / "benchmark.md").read_text(encoding="utf-8").splitlines()) == 2 + len(ROWS)


def test_a_benchmark_without_ratios_says_so() -> None:
    assert Benchmark([ROWS[3]], "", {}).verdict == [
        "No part that was measured says how long a training takes: see the table."
    ]


def test_other_work_on_the_machine_is_named() -> None:
    assert "Measured under load" in Benchmark(ROWS, "", {"load_of_core": 3.5}).verdict[-1]
    assert "Measured under load" not in Benchmark(ROWS, "", {"load_of_core": 0.1}).verdict[-1]
