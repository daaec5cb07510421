import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from fpcn_lightning.data.synthetic.lattice import Block, Mosaic, hashes, key, smooth, uniform

PLACES = st.integers(-3_000, 3_000)
SIDES = st.integers(1, 90)


def blocks() -> st.SearchStrategy[Block]:
    return st.builds(Block, PLACES, PLACES, SIDES, SIDES)


def test_every_bit_is_fair_and_independent() -> None:
    block = Block(-100, 7, 400, 250)
    drawn = hashes(key(3, "coins"), block.rows, block.columns)
    bits = np.unpackbits(drawn.view(np.uint8)).reshape(drawn.size, 64) - 0.5
    limit = 5 / np.sqrt(drawn.size)
    assert np.abs(2 * bits.mean(axis=0)).max() < limit
    together = 4 * bits.T @ bits / drawn.size - np.eye(64)
    assert np.abs(together).max() < limit
    neighbours = 4 * (bits.reshape(400, 250, 64)[:, 1:] * bits.reshape(400, 250, 64)[:, :-1]).mean(axis=(0, 1))
    assert np.abs(neighbours).max() < limit


def test_streams_and_seeds_are_independent() -> None:
    block = Block(0, 0, 50, 60)
    keys = [key(seed, stream) for seed in (0, 1, 2**63) for stream in ("a", "b", "ab")]
    fields = np.stack([uniform(of, block.rows, block.columns).ravel() for of in keys])
    assert np.abs(np.corrcoef(fields) - np.eye(len(keys))).max() < 5 / np.sqrt(3000)


@given(block=blocks(), wavelength=st.floats(1.5, 400))
def test_smooth_noise_continues_in_the_next_block(block: Block, wavelength: float) -> None:
    of = key(1, "noise")
    whole = smooth(of, block, wavelength)
    assert whole.shape == (block.height, block.width)
    assert np.abs(whole).max() <= 1
    # The steepest slope of the smoothing is 3 / 2, between nodes that differ by up to 2.
    assert np.abs(np.diff(whole, axis=0)).max(initial=0) <= 3 / wavelength + 1e-5
    row, column = block.height // 2, block.width // 2
    part = smooth(of, Block(block.top + row, block.left + column, block.height - row, block.width - column), wavelength)
    np.testing.assert_array_equal(part, whole[row:, column:])


@given(block=blocks(), spacing=st.floats(12, 300))
def test_every_pixel_belongs_to_the_nearest_seed(block: Block, spacing: float) -> None:
    mosaic = Mosaic(key(2, "cells"), spacing)
    cells, owner = mosaic.of(block)
    middle = np.array([block.top + block.height // 2, block.left + block.width // 2]) / spacing
    reach = int(60 / spacing) + 5
    # All seeds of a large region, not only the nearest squares.
    many = np.indices((2 * reach + 1,) * 2).reshape(2, -1) - reach + np.floor(middle).astype(np.int64)[:, None]
    places = np.stack(np.broadcast_arrays(block.rows, block.columns)).reshape(2, -1)
    nearest = many[:, KDTree(mosaic.seeds(many).T).query(places.T)[1]]
    np.testing.assert_array_equal(cells[:, owner.ravel()], nearest)
    np.testing.assert_array_equal(mosaic.around(places), nearest)


@pytest.mark.parametrize("spacing", [10.0, 240.0])
def test_a_seed_is_in_its_own_square(spacing: float) -> None:
    cells = np.indices((40, 50)).reshape(2, -1) - 20
    seeds = Mosaic(key(0, "cells"), spacing).seeds(cells)
    np.testing.assert_array_equal(np.floor(seeds / spacing), cells)
