"""Windows and cells cover the section, and the size of a window follows from the scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.mapping.classify.grid import Box, CellGrid, WindowGrid, cell_size, window_size

LENGTHS = st.integers(1, 60)


@pytest.mark.parametrize(("stride", "resolution"), [(96, 96), (48, 48), (24, 48), (5, 48)])
def test_denser_windows_resolve_no_more_than_half_of_one(stride: int, resolution: int) -> None:
    assert WindowGrid(100, 100, 96, stride).resolution == resolution


@pytest.mark.parametrize("scale", [1e-9, 5e-324])
def test_scales_near_zero_are_refused(bundle_folder: Path, scale: float) -> None:
    bundle = replace(read_bundle(bundle_folder), micrometres_per_pixel=1.0)
    with pytest.raises(UserError, match="check the scale"):
        window_size(bundle, scale)


@settings(deadline=None)
@given(height=LENGTHS, width=LENGTHS, size=st.integers(1, 40), stride=st.integers(1, 40))
def test_each_pixel_belongs_to_one_window_that_sees_it(height: int, width: int, size: int, stride: int) -> None:
    size = max(size, stride)
    windows = WindowGrid(height, width, size, stride)
    owners = np.zeros((height, width), int)
    for row in range(windows.rows):
        for column in range(windows.columns):
            part, box = windows.part(row, column), windows.box(row, column)
            owners[part.top : part.bottom, part.left : part.right] += 1
            assert part.top < part.bottom
            assert part.left < part.right
            assert box.top <= part.top
            assert box.left <= part.left
            assert box.bottom >= part.bottom
            assert box.right >= part.right
            assert (box.bottom - box.top, box.right - box.left) == (size, size)
            assert 0 <= (box.top + box.bottom) / 2 <= height + 0.5
            assert 0 <= (box.left + box.right) / 2 <= width + 0.5
    assert (owners == 1).all()


def test_neighbours_are_a_stride_apart_and_the_grid_is_centred() -> None:
    windows = WindowGrid(100, 96, 32, 16)
    assert (windows.rows, windows.columns) == (7, 6)
    assert windows.first_centre == (2.0, 8.0)  # seven strides cover 112 px, six of the surplus above the section
    assert windows.box(0, 0) == Box(-14, -8, 18, 24)
    assert windows.box(1, 2) == Box(2, 24, 34, 56)
    assert windows.part(0, 0) == Box(0, 0, 10, 16)


@pytest.mark.parametrize("number", range(4))
def test_no_number_is_zero(number: int) -> None:
    numbers = [10, 10, 4, 2]
    numbers[number] = 0
    with pytest.raises(ValueError, match="at least 1"):
        WindowGrid(*numbers)


@settings(deadline=None)
@given(height=LENGTHS, width=LENGTHS, stride=st.integers(1, 40), most=st.integers(1, 500))
def test_each_cell_belongs_to_one_window(height: int, width: int, stride: int, most: int) -> None:
    windows = WindowGrid(height, width, stride, stride)
    cells = CellGrid(height, width, cell_size(height, width, stride, most))
    assert cells.rows * cells.columns <= most
    parts = [windows.part(row, 0) for row in range(windows.rows)]
    rows = [cells.centred_in(part.top, part.bottom, height) for part in parts]
    assert [cell for row in rows for cell in row] == list(range(cells.rows))
    for row, cell in ((r, cell) for r, centred in enumerate(rows) for cell in centred):
        part, centre = parts[row], (cell + 0.5) * cells.size
        assert part.top <= centre < part.bottom or (row == windows.rows - 1 and centre >= part.top)


def test_cells_are_an_eighth_of_the_stride_unless_that_is_too_many() -> None:
    assert cell_size(1000, 1000, 112) == 14
    assert cell_size(1000, 1000, 3) == 1
    assert cell_size(100_000, 100_000, 112) == 25


def test_a_window_shows_as_many_micrometres_as_in_training(bundle_folder: Path) -> None:
    bundle = replace(read_bundle(bundle_folder), micrometres_per_pixel=3.0)  # 32 px of 3 um
    assert window_size(bundle, 1.5)[::2] == (64, True)
    assert window_size(bundle, 6.0).pixels == 16
    assert window_size(bundle, 1.5, 64).checked
    requested = window_size(bundle, 1.5, 100)
    assert (requested.pixels, requested.checked) == (100, False)
    assert "64 px" in requested.reason
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="above 0"):
            window_size(bundle, scale)
    with pytest.raises(UserError, match="larger than what the network sees"):
        window_size(bundle, 500.0)


def test_without_a_scale_the_magnification_is_not_checked(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    tiling = replace(bundle, views=Tiling(crop=32, tile_scale=0.25))
    scaled = replace(bundle, micrometres_per_pixel=3.0)
    for size, pixels in (
        (window_size(bundle, 1.2), 32),
        (window_size(bundle, None, 50), 50),
        (window_size(tiling, None), 128),
        (window_size(scaled, None), 32),
    ):
        assert size.pixels == pixels
        assert not size.checked
        assert "not checked" in size.reason
