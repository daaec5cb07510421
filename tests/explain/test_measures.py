import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from fpcn_lightning.explain.measures import above_mean, energy_inside, overlap, pointing_game
from fpcn_lightning.models.positioning import Positioning

SHAPE = (5, 6)
heats = arrays.arrays(np.float32, SHAPE, elements=st.integers(0, 8).map(float))
regions = arrays.arrays(np.bool_, SHAPE)


def one(row: int, column: int) -> NDArray[np.bool_]:
    place = np.zeros(SHAPE, np.bool_)
    place[row, column] = True
    return place


def test_worked_example() -> None:
    heat = np.array([[0, 1], [3, 4]], np.float32)
    left, right = np.array([[True, False]] * 2), np.array([[False, True]] * 2)
    assert energy_inside(heat, left) == 3 / 8
    assert pointing_game(heat, right)
    assert not pointing_game(heat, left)
    np.testing.assert_array_equal(above_mean(heat), [[False, False], [True, True]])
    assert overlap(above_mean(heat), left) == 1 / 3


@given(heats, regions)
def test_energy_is_shared_between_the_object_and_the_rest(heat: NDArray[np.float32], inside: NDArray[np.bool_]) -> None:
    both = energy_inside(heat, inside) + energy_inside(heat, ~inside)
    assert both == pytest.approx(1) if heat.any() else math.isnan(both)


@given(heats, regions, st.sampled_from([0.25, 2.0, 1024.0]))
def test_the_scale_does_not_matter(heat: NDArray[np.float32], inside: NDArray[np.bool_], scale: float) -> None:
    scaled = heat * np.float32(scale)
    assert pointing_game(scaled, inside) == pointing_game(heat, inside)
    assert energy_inside(scaled, inside) == pytest.approx(energy_inside(heat, inside), nan_ok=True)
    np.testing.assert_array_equal(above_mean(scaled), above_mean(heat))


@given(heats, regions)
def test_rotating_both_changes_nothing(heat: NDArray[np.float32], inside: NDArray[np.bool_]) -> None:
    turned, object_turned = heat[::-1].T, inside[::-1].T
    assert pointing_game(turned, object_turned) == pointing_game(heat, inside)
    assert energy_inside(turned, object_turned) == pytest.approx(energy_inside(heat, inside), nan_ok=True)


@given(regions, regions)
def test_overlap_agrees_with_sets(found: NDArray[np.bool_], inside: NDArray[np.bool_]) -> None:
    a, b = ({(int(y), int(x)) for y, x in np.argwhere(region)} for region in (found, inside))
    assert overlap(found, inside) == pytest.approx(len(a & b) / len(a | b) if a | b else math.nan, nan_ok=True)
    assert overlap(found, inside) == pytest.approx(overlap(inside, found), nan_ok=True)


def test_of_several_hottest_places_half_must_be_inside() -> None:
    heat = (one(0, 0) | one(4, 5)).astype(np.float32)
    assert pointing_game(heat, one(0, 0))
    assert not pointing_game(heat + one(2, 2), one(0, 0))


def test_a_map_without_heat() -> None:
    nothing, everything = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.bool_)
    assert not pointing_game(nothing, everything)
    assert math.isnan(energy_inside(nothing, everything))
    assert above_mean(nothing).all()


@given(st.floats(2**-10, 1.0, width=32))
def test_a_flat_map_is_above_its_mean_everywhere(value: float) -> None:
    """Though the mean may be rounded to above it."""
    assert above_mean(np.full((7, 7), value, np.float32)).all()


def test_above_mean_is_the_threshold_of_positioning() -> None:
    maps = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(above_mean(maps[0, 0].numpy()), Positioning()(maps).inside[0].numpy())


def test_other_shapes_are_refused() -> None:
    heat = np.ones(SHAPE, np.float32)
    with pytest.raises(ValueError, match="one height and width"):
        energy_inside(heat, one(0, 0).T)
    with pytest.raises(ValueError, match="one height and width"):
        overlap(one(0, 0)[None], one(0, 0)[None])
    with pytest.raises(ValueError, match="true or false"):
        pointing_game(heat, heat)  # type: ignore[arg-type]
