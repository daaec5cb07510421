import numpy as np
import pytest
from skimage.measure import label, regionprops_table

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.measure.grains import GRAIN_COLUMNS, SIZE_COLUMNS, find_grains, grain_rows, size_rows
from tests.field.mapping.drawn import CLASSES, disc, drawn_map


def test_discs_are_counted_and_sized() -> None:
    codes = np.zeros((400, 400), np.uint8)
    for y, x, radius in ((100, 120, 60), (300, 250, 40), (60, 330, 20)):
        codes[disc(400, y, x, radius)] = 1
    grains = find_grains(drawn_map(codes))
    assert len(grains) == 4
    assert grains.code.tolist() == [0, 1, 1, 1]
    assert grains.diameter[1:] == pytest.approx([120, 80, 40], rel=0.01)
    assert grains.y[1:] == pytest.approx([100, 300, 60])
    assert grains.x[1:] == pytest.approx([120, 250, 330])
    assert grains.major[1:] == pytest.approx([120, 80, 40], rel=0.01)
    assert grains.minor[1:] == pytest.approx([120, 80, 40], rel=0.01)
    assert grains.cut.tolist() == [True, False, False, False]


def test_shapes_are_those_of_scikit_image() -> None:
    """scikit-image measures the map at the full size of the section, where cells at the border are cropped."""
    chance = np.random.default_rng(0)
    codes = np.repeat(np.repeat(chance.integers(0, 3, (9, 11)), 2, 0), 3, 1)
    codes[4:7, 20:25] = NO_DATA
    class_map = drawn_map(codes, cell=4, height=codes.shape[0] * 4 - 1, width=codes.shape[1] * 4 - 3)
    class_map.confidence[:] = chance.integers(0, 101, codes.shape)
    grains = find_grains(class_map)
    pixels = codes.repeat(4, 0).repeat(4, 1)[: class_map.height, : class_map.width]
    confidence = class_map.confidence.repeat(4, 0).repeat(4, 1)[: class_map.height, : class_map.width]
    properties = ("area", "centroid", "bbox", "inertia_tensor_eigvals", "intensity_mean")
    labels = label(pixels, background=NO_DATA, connectivity=2)  # type: ignore[no-untyped-call]
    table = regionprops_table(labels, confidence, properties=properties)  # type: ignore[no-untyped-call]
    order = np.argsort(-table["area"], kind="stable")
    expected = {name: column[order] for name, column in table.items()}
    assert grains.area == pytest.approx(expected["area"])
    # The first pixel begins at 0 here; in scikit-image, its centre is 0, and pixels are points.
    assert grains.y == pytest.approx(expected["centroid-0"] + 0.5)
    assert grains.x == pytest.approx(expected["centroid-1"] + 0.5)
    for place, edge in enumerate((grains.top, grains.left, grains.bottom, grains.right)):
        assert edge.tolist() == expected[f"bbox-{place}"].tolist()
    assert grains.major == pytest.approx(4 * np.sqrt(expected["inertia_tensor_eigvals-0"] + 1 / 12))
    assert grains.minor == pytest.approx(4 * np.sqrt(expected["inertia_tensor_eigvals-1"] + 1 / 12))
    assert grains.confidence == pytest.approx(expected["intensity_mean"])


@pytest.mark.parametrize("degrees", [-60, -20, 0, 35, 80])
def test_long_grains_are_measured_along_their_axis(degrees: float) -> None:
    rows, columns = np.mgrid[:300, :300] - 149.5
    angle = np.radians(degrees)
    along = columns * np.cos(angle) - rows * np.sin(angle)
    across = columns * np.sin(angle) + rows * np.cos(angle)
    grains = find_grains(drawn_map((along / 100) ** 2 + (across / 30) ** 2 < 1))
    assert grains.orientation[1] == pytest.approx(degrees, abs=0.5)
    assert (grains.major[1], grains.minor[1]) == pytest.approx((200, 60), rel=0.01)


def test_corners_connect_and_places_without_data_cut() -> None:
    codes = np.zeros((9, 9), np.uint8)
    codes[2, 2] = codes[3, 3] = codes[6, 6] = 1
    codes[6, 7] = NO_DATA
    grains = find_grains(drawn_map(codes))
    assert grains.area.tolist() == [77, 2, 1]
    assert grains.cut.tolist() == [True, False, True]


def test_a_section_without_data_has_no_grains() -> None:
    class_map = drawn_map(np.full((5, 7), NO_DATA))
    grains = find_grains(class_map)
    assert len(grains) == 0
    assert list(grain_rows(class_map, grains, 3)) == []


def test_rows_have_both_units() -> None:
    codes = np.zeros((40, 40), np.uint8)
    codes[10:20, 10:30] = 2
    class_map = drawn_map(codes, cell=5, micrometres_per_pixel=2.0)
    row = list(grain_rows(class_map, find_grains(class_map), 200))[1]
    assert tuple(row) == GRAIN_COLUMNS
    assert row["class"] == CLASSES[2]
    assert (row["grain"], row["area_px"], row["area_um2"]) == (2, 5000, 20000)
    whole_numbers = {"grain", "area_px", *(f"{edge}_px" for edge in ("left", "top", "right", "bottom"))}
    assert {name for name, cell in row.items() if type(cell) is int} == whole_numbers
    assert [row[f"{edge}_px"] for edge in ("left", "top", "right", "bottom")] == [50, 50, 150, 100]
    assert (row["centroid_x_um"], row["centroid_y_um"]) == (200, 150)
    assert row["diameter_um"] == pytest.approx(2 * 79.79, rel=1e-3)
    assert (row["touches_border"], row["below_resolution"]) == (False, True)
    unknown = drawn_map(codes)
    assert next(grain_rows(unknown, find_grains(unknown), 10))["area_um2"] is None


def test_every_grain_is_in_one_bin() -> None:
    codes = np.zeros((300, 300), np.uint8)
    for y, x, radius in ((60, 60, 50), (200, 200, 50), (60, 200, 13)):
        codes[disc(300, y, x, radius)] = 1
    class_map = drawn_map(codes, micrometres_per_pixel=2.0)
    grains = find_grains(class_map)
    rows = [row for row in size_rows(class_map, grains) if row["class"] == CLASSES[1]]
    assert all(tuple(row) == SIZE_COLUMNS and row["unit"] == "um" for row in rows)
    assert [row["grains"] for row in rows] == [1, 0, 0, 0, 2]
    assert sum(float(str(row["area_percent"])) for row in rows) == pytest.approx(100)
    edges = [(float(str(row["diameter_from"])), float(str(row["diameter_to"]))) for row in rows]
    assert edges[0][0] <= 52 < edges[0][1]
    assert edges[-1][0] <= 200 < edges[-1][1]
    assert all(high == pytest.approx(low * 2**0.5) for low, high in edges)
