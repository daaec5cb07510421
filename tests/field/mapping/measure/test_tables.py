import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import Voronoi, cKDTree
from skimage.measure import perimeter_crofton

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.mapping.measure.grains import find_grains
from fpcn_lightning.field.mapping.measure.tables import (
    AREA_COLUMNS,
    NO_DATA_NAME,
    area_rows,
    contact_lengths,
    contact_rows,
)
from fpcn_lightning.field.results import TableRow
from tests.field.mapping.drawn import CLASSES, disc, drawn_map


def rows_of(class_map: ClassMap, resolution: float = 0) -> list[TableRow]:
    return area_rows(class_map, find_grains(class_map), resolution)


def test_areas_are_exact() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (20, 30))
    codes[:, :3] = NO_DATA
    class_map = drawn_map(codes, cell=7, height=138, width=209, micrometres_per_pixel=4.0)
    class_map.unfamiliar[:, 10:20] = True
    class_map.unfamiliar[:, :3] = False
    rows = rows_of(class_map)
    pixels = codes.repeat(7, 0).repeat(7, 1)[:138, :209]
    strange = class_map.unfamiliar.repeat(7, 0).repeat(7, 1)[:138, :209]
    assert [row["class"] for row in rows] == [*CLASSES, NO_DATA_NAME]
    for row, code in zip(rows, (0, 1, 2, NO_DATA), strict=True):
        assert tuple(row) == AREA_COLUMNS
        assert row["area_px"] == (pixels == code).sum()
        assert row["area_mm2"] == pytest.approx((pixels == code).sum() * 16e-6)
        assert row["percent_of_section"] == pytest.approx(100 * (pixels == code).mean())
    for row, code in zip(rows[:-1], range(3), strict=True):
        assert row["percent"] == pytest.approx(100 * (pixels == code).sum() / (pixels != NO_DATA).sum())
        assert row["percent_unfamiliar"] == pytest.approx(100 * strange[pixels == code].mean())


def test_areas_are_corrected_for_the_confusions_of_test_pictures() -> None:
    """A fifth of class 0 is taken for class 1: of 40 and 60 percent counted, 50 and 50 are true."""
    codes = np.zeros((10, 10))
    codes[:, 4:] = 1
    confusion = np.array([[800.0, 200, 0], [0, 1000, 0], [0, 0, 1000]])
    class_map = drawn_map(codes)
    rows = area_rows(class_map, find_grains(class_map), 0, confusion)
    assert [row["percent"] for row in rows[:3]] == pytest.approx([40, 60, 0])
    assert [row["percent_corrected"] for row in rows[:3]] == pytest.approx([50, 50, 0])
    for row in rows[:3]:
        assert row["corrected_low"] <= row["percent_corrected"] <= row["corrected_high"]  # type: ignore[operator]
    assert rows[-1]["percent_corrected"] is None
    for unmeasured in (None, np.diag([5.0, 5, 0])):
        cells = area_rows(class_map, find_grains(class_map), 0, unmeasured)[0]
        assert [cells[key] for key in ("percent_corrected", "corrected_low", "corrected_high")] == [None] * 3


def test_diameters_are_of_resolved_grains() -> None:
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


def test_areas_without_any_data() -> None:
    rows = rows_of(drawn_map(np.full((4, 4), NO_DATA)))
    assert [row["percent"] for row in rows] == [None] * 4
    assert rows[-1]["percent_of_section"] == 100


def perimeter(cells: NDArray[np.bool_]) -> float:
    return float(perimeter_crofton(np.pad(cells, 1), directions=4))  # type: ignore[no-untyped-call]


def test_a_contact_is_half_of_the_perimeters_that_two_classes_share() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (60, 50)).repeat(2, 0)
    codes[20:30, 10:40] = NO_DATA
    lengths = contact_lengths(drawn_map(codes))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = perimeter(codes == one) + perimeter(codes == other) - perimeter((codes == one) | (codes == other))
        assert lengths[one, other] == lengths[other, one] == pytest.approx(shared / 2)
    assert not lengths.diagonal().any()


def test_bands_do_not_change_contacts(monkeypatch: pytest.MonkeyPatch) -> None:
    class_map = drawn_map(np.random.default_rng(0).integers(0, 3, (37, 50)))
    whole = contact_lengths(class_map)
    monkeypatch.setattr("fpcn_lightning.field.mapping.measure.class_map._BAND_CELLS", 500)
    assert len(class_map.bands) == 4
    assert contact_lengths(class_map) == pytest.approx(whole)


@pytest.mark.parametrize("radius", [30, 100, 171.3])
def test_the_contact_of_a_disc_is_its_circumference(radius: float) -> None:
    lengths = contact_lengths(drawn_map(disc(400, 197.2, 203.4, radius), cell=3))
    assert lengths[0, 1] == pytest.approx(3 * 2 * np.pi * radius, rel=0.01)


@pytest.mark.parametrize("degrees", range(0, 180, 15))
def test_a_straight_contact_is_known_within_a_few_percent(degrees: int) -> None:
    angle = np.radians(degrees)
    rows, columns = np.mgrid[:500, :500] - 249.5
    codes = (columns * np.sin(angle) > rows * np.cos(angle)).astype(np.uint8)
    codes[np.hypot(rows, columns) > 240] = NO_DATA  # the same length at all angles
    assert contact_lengths(drawn_map(codes))[0, 1] == pytest.approx(480, rel=0.06)


def test_contacts_of_a_mosaic_are_its_known_edges() -> None:
    """Polygons, each a class, whose edges are computed exactly."""
    size = 1000
    points = np.random.default_rng(1).uniform(0, size, (40, 2))
    mosaic = Voronoi(points)
    rows, columns = np.mgrid[:size, :size] + 0.5
    codes = np.asarray(cKDTree(points).query(np.stack([rows, columns], axis=-1))[1])
    lengths = contact_lengths(drawn_map(codes, classes=tuple(map(str, range(40)))))
    expected, found = [], []
    for (one, other), ends in mosaic.ridge_dict.items():
        corners = mosaic.vertices[list(ends)]
        if -1 not in ends and ((corners > 0) & (corners < size)).all():
            expected.append(np.linalg.norm(corners[1] - corners[0]))
            found.append(lengths[one, other])
    assert sum(expected) > 5 * size
    assert sum(found) == pytest.approx(sum(expected), rel=0.01)
    assert found == pytest.approx(expected, rel=0.06, abs=3)


def test_rows_name_what_touches() -> None:
    codes = np.zeros((60, 60), np.uint8)
    codes[:, 20:40], codes[:, 40:] = NO_DATA, 1
    codes[:30, 50:] = 2
    (row,) = contact_rows(drawn_map(codes, cell=10, micrometres_per_pixel=5.0))
    assert (row["class_1"], row["class_2"]) == CLASSES[1:]
    assert row["length_px"] == pytest.approx(400, rel=0.1)
    assert row["length_mm"] == pytest.approx(2, rel=0.1)
    assert [row[f"percent_of_class_{place}"] for place in (1, 2)] == pytest.approx([100, 100])
    assert contact_rows(drawn_map(np.zeros((5, 5)))) == []
