import numpy as np
import pytest
from numpy.typing import NDArray

from fpcn_lightning.data.augment import Squashing, View
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.field.heat_map import COLOURS, heat_map, overlaid

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
