import numpy as np
import pytest

from fpcn_lightning.field.mapping.areas import COLUMNS, NO_DATA_NAME, area_rows
from fpcn_lightning.field.mapping.class_map import NO_DATA, ClassMap, Share
from fpcn_lightning.field.mapping.grains import find_grains
from fpcn_lightning.field.results import Row
from tests.field.mapping.drawn import CLASSES, disc, drawn_map


def rows_of(found: ClassMap, resolution: float = 0) -> list[Row]:
    return area_rows(found, find_grains(found), resolution)


def test_areas_are_exact() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (20, 30))
    codes[:, :3] = NO_DATA
    found = drawn_map(codes, cell=7, height=138, width=209, micrometres_per_pixel=4.0)
    found.unfamiliar[:, 10:20] = True
    found.unfamiliar[:, :3] = False
    rows = rows_of(found)
    pixels = codes.repeat(7, 0).repeat(7, 1)[:138, :209]
    strange = found.unfamiliar.repeat(7, 0).repeat(7, 1)[:138, :209]
    assert [row["class"] for row in rows] == [*CLASSES, NO_DATA_NAME]
    for row, code in zip(rows, (0, 1, 2, NO_DATA), strict=True):
        assert tuple(row) == COLUMNS
        assert row["area_px"] == (pixels == code).sum()
        assert row["area_mm2"] == pytest.approx((pixels == code).sum() * 16e-6)
        assert row["percent_of_section"] == pytest.approx(100 * (pixels == code).mean())
    for row, code in zip(rows[:-1], range(3), strict=True):
        assert row["percent"] == pytest.approx(100 * (pixels == code).sum() / (pixels != NO_DATA).sum())
        assert row["percent_unfamiliar"] == pytest.approx(100 * strange[pixels == code].mean())


def test_intervals_hold_both_estimates_and_stay_within_a_whole() -> None:
    found = drawn_map(np.zeros((9, 9)), shares=(Share(0.9, 0.1), Share(0.02, 0.05), Share(0.08, 0.01)))
    bounds = [(row["percent_low"], row["percent_high"]) for row in rows_of(found)[:3]]
    assert bounds == [pytest.approx((70.4, 100)), pytest.approx((0, 11.8)), pytest.approx((0, 9.96))]


def test_diameters_are_of_what_can_be_resolved() -> None:
    codes = np.zeros((400, 400), np.uint8)
    for y, x, radius in ((100, 120, 60), (300, 250, 40), (60, 330, 20), (20, 20, 4)):
        codes[disc(400, y, x, radius)] = 1
    row = rows_of(drawn_map(codes, micrometres_per_pixel=10.0), resolution=10)[1]
    assert (row["grains"], row["grains_resolved"]) == (4, 3)
    assert row["median_diameter_um"] == pytest.approx(800, rel=0.01)
    weighted = np.average([120, 80, 40], weights=[120**2, 80**2, 40**2])
    assert row["weighted_diameter_px"] == pytest.approx(weighted, rel=0.01)
    assert rows_of(drawn_map(codes), resolution=10)[2]["median_diameter_px"] is None
    assert rows_of(drawn_map(codes))[1]["area_mm2"] is None


def test_nothing_but_missing_data() -> None:
    rows = rows_of(drawn_map(np.full((4, 4), NO_DATA)))
    assert [row["percent"] for row in rows] == [None] * 4
    assert rows[-1]["percent_of_section"] == 100
