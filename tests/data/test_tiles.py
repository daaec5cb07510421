"""Tiles cover an image with as few as possible, are inside it, and depend on (seed, epoch, image) alone."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpcn_lightning.data.augment import View
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError

SIDE = 20
WITHOUT_BOUND = Tiling(crop=SIDE, max_tiles=10**6)
lengths = st.integers(SIDE, 150)


def times_seen(tiling: Tiling, shape: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How many tiles show each pixel."""
    seen = np.zeros(shape, np.int64)
    for view in tiling.evaluation_views(shape):
        part = tiling.cut(seen, view)
        assert part.shape == (tiling.evaluation_size,) * 2, "a tile reaches beyond the picture"
        part += 1
    return seen


@settings(max_examples=60, deadline=None)
@given(height=lengths, width=lengths)
def test_the_grid_covers_every_pixel_with_as_few_tiles_as_possible(height: int, width: int) -> None:
    seen = times_seen(WITHOUT_BOUND, (height, width))
    assert seen.min() >= 1
    views = WITHOUT_BOUND.evaluation_views((height, width))
    assert len(set(views)) == len(views) == math.ceil(height / SIDE) * math.ceil(width / SIDE)
    assert not any(view.flipped for view in views)


def test_sides_that_are_multiples_are_cut_without_overlap() -> None:
    assert (times_seen(WITHOUT_BOUND, (3 * SIDE, 5 * SIDE)) == 1).all()


@settings(max_examples=60, deadline=None)
@given(height=lengths, width=lengths, max_tiles=st.integers(1, 20))
def test_a_thinned_grid_is_even(height: int, width: int, max_tiles: int) -> None:
    """At most so many, from edge to edge, with steps that differ by rounding only."""
    views = Tiling(crop=SIDE, max_tiles=max_tiles).evaluation_views((height, width))
    assert len(views) <= max_tiles
    for corners, length in (({view.top for view in views}, height), ({view.left for view in views}, width)):
        begins = sorted(corners)
        if len(begins) == 1:
            assert abs(begins[0] - (length - SIDE) / 2) <= 0.5
        else:
            assert (begins[0], begins[-1]) == (0, length - SIDE)
            steps = np.diff(begins)
            assert steps.max() - steps.min() <= 1


def test_the_longer_side_of_the_grid_loses_tiles_first() -> None:
    views = Tiling(crop=SIDE, max_tiles=12).evaluation_views((3 * SIDE, 8 * SIDE))
    assert len({view.top for view in views}) == 3
    assert len({view.left for view in views}) == 4
    assert Tiling(crop=SIDE, max_tiles=1).evaluation_views((61, 101)) == (View(20, 40, False, SIDE),)


@pytest.mark.parametrize(
    ("scale", "original", "resized"),
    [
        (1.0, (300, 401), (300, 401)),
        (0.5, (300, 400), (150, 200)),
        (2.0, (30, 40), (60, 80)),
        (1.0, (10, 30), (20, 60)),
        (0.1, (100, 300), (20, 60)),
    ],
)
def test_the_shape_of_a_picture(scale: float, original: tuple[int, int], resized: tuple[int, int]) -> None:
    """Scaled, then enlarged until the shorter side holds a tile; the aspect ratio stays."""
    assert Tiling(crop=SIDE, tile_scale=scale).shape(*original) == resized
    assert Tiling(crop=SIDE, tile_scale=scale).square is None


@settings(max_examples=100, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), larger=st.integers(1, 30))
def test_the_tiles_of_training_and_of_test_fit_into_every_picture(height: int, width: int, larger: int) -> None:
    tiling = Tiling(crop=SIDE, evaluation_crop=larger)
    assert min(tiling.shape(height, width)) >= max(SIDE, larger)


@settings(max_examples=40, deadline=None)
@given(height=lengths, width=lengths, keys=st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), max_size=6))
def test_a_drawn_tile_depends_on_its_key_alone_and_is_inside(
    height: int, width: int, keys: list[tuple[int, int, int]]
) -> None:
    first = {key: WITHOUT_BOUND.draw((height, width), *key) for key in keys}
    other = Tiling(crop=SIDE, max_tiles=1)
    assert [other.draw((height, width), *key) for key in reversed(keys)] == [first[key] for key in reversed(keys)]
    picture = np.zeros((height, width, 3), np.uint8)
    assert all(WITHOUT_BOUND.cut(picture, view).shape == (SIDE, SIDE, 3) for view in first.values())


def test_every_possible_tile_is_drawn() -> None:
    drawn = {WITHOUT_BOUND.draw((22, 24), 0, epoch, 0)[:3] for epoch in range(600)}
    assert drawn == set(itertools.product(range(3), range(5), (False, True)))


@pytest.mark.parametrize("key", ["crop", "evaluation_crop", "tile_scale", "max_tiles"])
@pytest.mark.parametrize("number", [0, -1, float("nan")])
def test_impossible_numbers(key: str, number: float) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}={number} must be above 0"):
        Tiling(**{"crop": SIDE, key: number})  # type: ignore[arg-type]
