import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import Voronoi, cKDTree
from skimage.measure import perimeter_crofton

from fpcn_lightning.field.mapping.class_map import NO_DATA
from fpcn_lightning.field.mapping.contacts import contact_lengths, contact_rows
from tests.field.mapping.drawn import CLASSES, disc, drawn_map


def perimeter(cells: NDArray[np.bool_]) -> float:
    return float(perimeter_crofton(np.pad(cells, 1), directions=4))  # type: ignore[no-untyped-call]


def test_it_is_half_of_the_perimeters_that_two_classes_share() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (60, 50)).repeat(2, 0)
    codes[20:30, 10:40] = NO_DATA
    lengths = contact_lengths(drawn_map(codes))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        shared = perimeter(codes == one) + perimeter(codes == other) - perimeter((codes == one) | (codes == other))
        assert lengths[one, other] == lengths[other, one] == pytest.approx(shared / 2)
    assert not lengths.diagonal().any()


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = drawn_map(np.random.default_rng(0).integers(0, 3, (37, 50)))
    whole = contact_lengths(found)
    monkeypatch.setattr("fpcn_lightning.field.mapping.class_map._BAND_CELLS", 500)
    assert len(found.bands) == 4
    assert contact_lengths(found) == pytest.approx(whole)


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
    side = 1000
    points = np.random.default_rng(1).uniform(0, side, (40, 2))
    mosaic = Voronoi(points)
    rows, columns = np.mgrid[:side, :side] + 0.5
    codes = np.asarray(cKDTree(points).query(np.stack([rows, columns], axis=-1))[1])
    lengths = contact_lengths(drawn_map(codes, classes=tuple(map(str, range(40)))))
    expected, found = [], []
    for (one, other), ends in mosaic.ridge_dict.items():
        corners = mosaic.vertices[list(ends)]
        if -1 not in ends and ((corners > 0) & (corners < side)).all():
            expected.append(np.linalg.norm(corners[1] - corners[0]))
            found.append(lengths[one, other])
    assert sum(expected) > 5 * side
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
