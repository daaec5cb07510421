import numpy as np
import pytest
from numpy.typing import NDArray

from fpcn_lightning.data.augment import Squashing, View
from fpcn_lightning.data.images import SquareFit
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.field.heat_map import COLOURS, heat_map, object_area, outlined, overlaid

WHOLE = (View(0, 0, False, 64),)


def map_of(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array([rows], np.float32)


def hottest(heat: NDArray[np.float32]) -> tuple[int, int]:
    row, column = np.unravel_index(int(np.nanargmax(heat)), heat.shape)
    return int(row), int(column)


def test_the_hottest_place_is_where_the_map_is_highest() -> None:
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 1, 3] = 5
    heat = heat_map(values, WHOLE, (64, 64), (100, 200))
    assert heat.shape == (100, 200)
    assert heat.dtype == np.float32
    assert (heat.min(), heat.max()) == (0, 1)
    row, column = hottest(heat)
    assert 25 <= row < 50
    assert 150 <= column < 200


def test_negative_contributions_are_as_cold_as_none() -> None:
    against = heat_map(map_of((-3, 0), (0, 2)), WHOLE, (64, 64), (8, 8))
    np.testing.assert_array_equal(against, heat_map(map_of((0, 0), (0, 2)), WHOLE, (64, 64), (8, 8)))
    assert heat_map(map_of((-3, -1), (-2, -1)), WHOLE, (64, 64), (8, 8)).max() == 0


def test_the_scale_of_the_logits_does_not_matter() -> None:
    values = map_of((1, 2), (3, 4))
    np.testing.assert_allclose(
        heat_map(values, WHOLE, (64, 64), (9, 9)), heat_map(1000 * values, WHOLE, (64, 64), (9, 9)), rtol=1e-5
    )


def test_the_margin_around_the_centre_was_not_seen() -> None:
    views = Squashing(resize=80, crop=60).evaluation_views((80, 80))
    heat = heat_map(map_of((1,)), views, (80, 80), (40, 160))
    seen = np.zeros((40, 160), bool)
    seen[5:35, 20:140] = True
    np.testing.assert_array_equal(np.isnan(heat), ~seen)


def test_adjacent_tiles_have_one_scale() -> None:
    views = Tiling(crop=50).evaluation_views((100, 100))
    heat = heat_map(np.array([[[1]], [[2]], [[3]], [[4]]], np.float32), views, (100, 100), (100, 100))
    for value, view in zip((0.25, 0.5, 0.75, 1), views, strict=True):
        assert (heat[view.top : view.top + 50, view.left : view.left + 50] == value).all()


def test_overlapping_tiles_are_averaged() -> None:
    views = (View(0, 0, False, 10), View(0, 5, False, 10))
    heat = heat_map(np.array([[[0]], [[2]]], np.float32), views, (10, 15), (10, 15))
    np.testing.assert_array_equal(heat[0], np.repeat([0, 0.5, 1], 5))


def test_a_view_thinner_than_a_pixel_still_has_one() -> None:
    heat = heat_map(map_of((1,)), (View(0, 0, False, 10),), (10, 1000), (1, 20))
    assert heat[0, 0] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_maps_that_are_not_finite_are_cold(value: float) -> None:
    np.testing.assert_array_equal(heat_map(map_of((value, value)), WHOLE, (64, 64), (8, 8)), np.zeros((8, 8)))


def test_the_object_lies_where_its_mask_is() -> None:
    inside = object_area(map_of((0, 0), (0, 1)), (View(0, 0, False, 64),), (64, 64), (8, 16))
    assert inside[5:, 10:].all()
    assert not inside[:3].any()
    assert not inside[:, :6].any()


def test_the_mask_of_a_mirrored_view_is_mirrored_back() -> None:
    views = (View(0, 0, False, 64), View(0, 0, True, 64))
    masks = np.array([[[1, 0]], [[0, 1]]], np.float32)
    np.testing.assert_array_equal(
        object_area(masks, views, (64, 64), (4, 8)), object_area(masks[:1], views[:1], (64, 64), (4, 8))
    )


def test_outside_all_views_there_is_no_object() -> None:
    views = Squashing(resize=80, crop=60).evaluation_views((80, 80))
    inside = object_area(map_of((1,)), views, (80, 80), (40, 160))
    assert inside.sum() == 30 * 120


def test_the_surroundings_of_an_object_are_dark_behind_a_line() -> None:
    picture = np.full((20, 20, 3), (200, 100, 0), np.uint8)
    inside = np.zeros((20, 20), bool)
    inside[8:12, 8:12] = True
    drawn = outlined(picture, inside)
    np.testing.assert_array_equal(drawn[inside], picture[inside])
    np.testing.assert_array_equal(drawn[7, 7:13], [COLOURS[-1]] * 6)
    assert drawn[0, 0].max() < 100
    assert (drawn.reshape(-1, 3) == COLOURS[-1]).all(1).sum() == 8 * 8 - 4 * 4
    np.testing.assert_array_equal(outlined(picture, np.ones((20, 20), bool)), picture)


def test_colours_are_over_grey_and_only_where_there_is_heat() -> None:
    picture = np.full((1, 3, 3), (200, 100, 0), np.uint8)
    laid = overlaid(picture, np.array([[0, 1, np.nan]], np.float32))
    assert laid.dtype == np.uint8
    cold, hot, unseen = laid[0].astype(int)
    assert unseen.min() == unseen.max() == round(0.2989 * 200 + 0.587 * 100)
    assert np.abs(hot - COLOURS[-1]).sum() < np.abs(hot - COLOURS[0]).sum()
    assert np.abs(cold - COLOURS[0]).sum() < np.abs(cold - COLOURS[-1]).sum()


@pytest.mark.parametrize("red", [0.2989, 0.0])
def test_more_heat_is_brighter_with_red_blindness_too(red: float) -> None:
    brightness = np.array(COLOURS) @ (red, 0.587, 0.114)
    assert (np.diff(brightness) > 10).all()


def test_what_a_crop_did_not_see_stays_grey() -> None:
    area = SquareFit(64, "crop").area(100, 200)
    heat = heat_map(map_of((1,)), WHOLE, (64, 64), (50, 100), area)
    seen = np.zeros((50, 100), bool)
    seen[:, 25:75] = True
    np.testing.assert_array_equal(np.isnan(heat), ~seen)


@pytest.mark.parametrize("flipped", [False, True])
def test_the_rim_of_a_letterbox_lies_outside_the_picture(flipped: bool) -> None:
    """Four rows of places, of which the picture has the middle two."""
    area = SquareFit(64, "letterbox").area(100, 200)
    values = np.zeros((1, 4, 4), np.float32)
    values[0, 2, 3] = 1
    view = (View(0, 0, flipped, 64),)
    heat = heat_map(values, view, (64, 64), (80, 160), area)
    assert not np.isnan(heat).any()
    row, column = hottest(heat)
    assert 40 <= row < 80
    assert column < 40 if flipped else column >= 120
    inside = object_area(values, view, (64, 64), (80, 160), area)
    assert inside[60, 20 if flipped else 140]
    assert not inside[20].any()


def test_a_crop_of_a_letterbox_lies_where_it_was_cut() -> None:
    """The middle 32 of 64 pixels of the square show the middle half of the width, and all of the height."""
    area = SquareFit(64, "letterbox").area(100, 200)
    heat = heat_map(map_of((1,)), (View(16, 16, False, 32),), (64, 64), (80, 160), area)
    seen = np.zeros((80, 160), bool)
    seen[:, 40:120] = True
    np.testing.assert_array_equal(np.isnan(heat), ~seen)
