import csv
import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.object_ratio import BinRow, by_object_ratio, draw_object_ratio, object_ratio_csv
from tests.report.run_folders import leave_run
from tests.report.test_bootstrap import sample_of
from tests.report.test_experiments import only

IMAGES = 80
CONFIG = {"report": {"reference": "full"}}
RATIOS = np.random.default_rng(0).permutation(np.linspace(0.01, 0.8, IMAGES)).round(4)
SMALL = np.median(RATIOS) > RATIOS
RIGHT = np.ones(IMAGES)
FAILS_ON_SMALL = np.where(SMALL, 0.0, 1.0)


def leave(folder: Path, variant: str, right: np.ndarray, found: np.ndarray | None, true: np.ndarray | None) -> None:
    place = folder / variant / "seed-0"
    leave_run(place, right, variant=variant, object_ratio=found, true_object_ratio=true, config=CONFIG)


def test_a_variant_that_fails_on_small_objects_is_found_out(tmp_path: Path) -> None:
    leave(tmp_path, "full", RIGHT, RATIOS, None)
    leave(tmp_path, "plain", FAILS_ON_SMALL, None, None)
    rows = [row for row in by_object_ratio(only(tmp_path)) if row.variant == "plain"]
    assert [(row.area, row.pictures) for row in rows] == 4 * [("found", 20)]
    assert [row.difference and row.difference.value for row in rows] == [-1, -1, 0, 0]
    ordered = np.sort(RATIOS)
    assert [(row.low, row.high) for row in rows] == [(ordered[20 * i], ordered[20 * i + 19]) for i in range(4)]


def test_bins_are_those_of_the_references_mean_over_seeds(tmp_path: Path) -> None:
    """Seeds that find opposite areas find, on average, nothing: one bin."""
    for seed, found in enumerate((RATIOS, 0.81 - RATIOS)):
        place = tmp_path / "full" / f"seed-{seed}"
        leave_run(place, RIGHT, variant="full", seed=seed, object_ratio=found.round(4), config=CONFIG)
    leave(tmp_path, "mask", RIGHT, RATIOS, None)
    rows = by_object_ratio(only(tmp_path))
    assert {(row.pictures, round(row.low, 4), round(row.high, 4)) for row in rows} == {(80, 0.405, 0.405)}


def test_true_areas_serve_where_the_reference_positions_nothing(tmp_path: Path) -> None:
    leave(tmp_path, "full", RIGHT, None, RATIOS)
    leave(tmp_path, "mask", FAILS_ON_SMALL, RATIOS, RATIOS)
    assert {row.area for row in by_object_ratio(only(tmp_path))} == {"true"}


def test_both_areas_where_both_are_known(tmp_path: Path) -> None:
    leave(tmp_path, "full", RIGHT, RATIOS, np.sqrt(RATIOS).round(4))
    leave(tmp_path, "mask", FAILS_ON_SMALL, None, None)
    rows = by_object_ratio(only(tmp_path))
    assert [row.area for row in rows] == 8 * ["found"] + 8 * ["true"]
    assert draw_object_ratio(rows) is not None


def test_no_ratio_no_rows(tmp_path: Path) -> None:
    leave(tmp_path, "full", RIGHT, None, None)
    leave(tmp_path, "mask", RIGHT, RATIOS, RATIOS)
    assert by_object_ratio(only(tmp_path)) == []
    assert draw_object_ratio([]) is None


def test_intervals_are_those_of_the_pictures_of_a_bin(tmp_path: Path) -> None:
    mixed = (np.random.default_rng(1).random(IMAGES) < 0.6).astype(float)
    leave(tmp_path, "full", RIGHT, RATIOS, None)
    leave(tmp_path, "mask", mixed, None, None)
    first = next(row for row in by_object_ratio(only(tmp_path)) if row.variant == "mask")
    inside = np.sort(np.argsort(RATIOS)[:20])
    assert first.difference == bootstrap.difference(sample_of(mixed[inside]), sample_of(RIGHT[inside]))


def test_csv_reads_back(tmp_path: Path) -> None:
    leave(tmp_path, "full", RIGHT, RATIOS, None)
    leave(tmp_path, "mask", FAILS_ON_SMALL, None, None)
    rows = by_object_ratio(only(tmp_path))
    lines = list(csv.DictReader(io.StringIO(object_ratio_csv([("demo", rows)]))))
    assert [(line["experiment"], line["variant"], float(line["ratio_high"])) for line in lines] == [
        ("demo", row.variant, row.high) for row in rows
    ]
    full, mask = lines[:2]
    assert (full["accuracy"], full["difference"], mask["difference_low"]) == ("1.0", "", "-1.0")


def test_more_variants_than_can_be_told_apart_are_not_drawn() -> None:
    one = bootstrap.Estimate(0.1, 0.0, 0.2)

    def rows(number: int) -> list[BinRow]:
        return [BinRow("found", 0, 1, 9, f"variant {index}", one, one) for index in range(number)]

    assert draw_object_ratio(rows(10)) is not None
    assert draw_object_ratio(rows(11)) is None


@pytest.mark.parametrize("unknown", [0, 5])
def test_pictures_of_unknown_ratio_are_left_out(tmp_path: Path, unknown: int) -> None:
    true = np.where(np.arange(IMAGES) < unknown, np.nan, RATIOS)
    leave(tmp_path, "full", RIGHT, None, np.array(["" if np.isnan(each) else each for each in true], dtype=object))
    assert sum(row.pictures for row in by_object_ratio(only(tmp_path))) == IMAGES - unknown


def test_no_difference_does_not_blow_up_the_axis(tmp_path: Path) -> None:
    leave(tmp_path, "full", RIGHT, RATIOS, None)
    leave(tmp_path, "mask", RIGHT, None, None)
    drawing = draw_object_ratio(by_object_ratio(only(tmp_path)))
    assert drawing is not None
    assert drawing.figure.axes[0].get_ylim() == (-1, 1)


def test_every_panel_has_room_for_its_points() -> None:
    """The panels share an axis: what the first one shows must not cut off the second."""

    def row(area: Literal["found", "true"], gain: float) -> BinRow:
        one = bootstrap.Estimate(gain, gain, gain)
        return BinRow(area, 0, 1, 9, "mask", one, one)

    drawing = draw_object_ratio([row("found", 0.0), row("true", 0.3)])
    assert drawing is not None
    low, high = drawing.figure.axes[1].get_ylim()
    assert low < 0
    assert high > 30
