"""Windows and cells leave nothing out, and a window's side follows the scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.mapping.cells import Cells, cell_side
from fpcn_lightning.field.mapping.windows import Box, Windows, window_side

LENGTHS = st.integers(1, 60)


@pytest.mark.parametrize(("stride", "resolution"), [(96, 96), (48, 48), (24, 48), (5, 48)])
def test_denser_windows_resolve_no_more_than_half_of_one(stride: int, resolution: int) -> None:
    assert Windows(100, 100, 96, stride).resolution == resolution


@pytest.mark.parametrize("scale", [1e-9, 5e-324])
def test_scales_of_nothing_are_refused(bundle_folder: Path, scale: float) -> None:
    bundle = replace(read_bundle(bundle_folder), micrometres_per_pixel=1.0)
    with pytest.raises(UserError, match="check the scale"):
        window_side(bundle, scale)


@settings(deadline=None)
@given(height=LENGTHS, width=LENGTHS, side=st.integers(1, 40), stride=st.integers(1, 40))
def test_each_pixel_belongs_to_one_window_that_sees_it(height: int, width: int, side: int, stride: int) -> None:
    side = max(side, stride)
    windows = Windows(height, width, side, stride)
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
            assert (box.bottom - box.top, box.right - box.left) == (side, side)
            assert 0 <= (box.top + box.bottom) / 2 <= height + 0.5
            assert 0 <= (box.left + box.right) / 2 <= width + 0.5
    assert (owners == 1).all()


def test_neighbours_are_a_stride_apart_and_the_grid_lies_in_the_middle() -> None:
    windows = Windows(100, 96, 32, 16)
    assert (windows.rows, windows.columns) == (7, 6)
    assert windows.first == (2.0, 8.0)  # seven strides cover 112 px, six of the surplus above the section
    assert windows.box(0, 0) == Box(-14, -8, 18, 24)
    assert windows.box(1, 2) == Box(2, 24, 34, 56)
    assert windows.part(0, 0) == Box(0, 0, 10, 16)


@pytest.mark.parametrize("number", range(4))
def test_no_side_is_zero(number: int) -> None:
    numbers = [10, 10, 4, 2]
    numbers[number] = 0
    with pytest.raises(ValueError, match="at least 1"):
        Windows(*numbers)


@settings(deadline=None)
@given(height=LENGTHS, width=LENGTHS, stride=st.integers(1, 40), most=st.integers(1, 500))
def test_each_cell_belongs_to_one_window(height: int, width: int, stride: int, most: int) -> None:
    windows = Windows(height, width, stride, stride)
    cells = Cells(height, width, cell_side(height, width, stride, most))
    assert cells.rows * cells.columns <= most
    parts = [windows.part(row, 0) for row in range(windows.rows)]
    rows = [cells.standing_in(part.top, part.bottom, height) for part in parts]
    assert [cell for row in rows for cell in row] == list(range(cells.rows))
    for row, cell in ((r, cell) for r, standing in enumerate(rows) for cell in standing):
        part, middle = parts[row], (cell + 0.5) * cells.side
        assert part.top <= middle < part.bottom or (row == windows.rows - 1 and middle >= part.top)


def test_cells_are_an_eighth_of_the_stride_unless_there_were_too_many() -> None:
    assert cell_side(1000, 1000, 112) == 14
    assert cell_side(1000, 1000, 3) == 1
    assert cell_side(100_000, 100_000, 112) == 25


def test_a_window_shows_as_many_micrometres_as_in_training(bundle_folder: Path) -> None:
    bundle = replace(read_bundle(bundle_folder), micrometres_per_pixel=3.0)  # 32 px of 3 um
    assert window_side(bundle, 1.5)[::2] == (64, True)
    assert window_side(bundle, 6.0).pixels == 16
    assert window_side(bundle, 1.5, 64).checked
    asked = window_side(bundle, 1.5, 100)
    assert (asked.pixels, asked.checked) == (100, False)
    assert "64 px" in asked.why
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="above 0"):
            window_side(bundle, scale)
    with pytest.raises(UserError, match="larger than what the network sees"):
        window_side(bundle, 500.0)


def test_without_a_scale_the_magnification_is_said_not_to_be_checked(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    tiling = replace(bundle, views=Tiling(crop=32, tile_scale=0.25))
    scaled = replace(bundle, micrometres_per_pixel=3.0)
    for side, pixels in (
        (window_side(bundle, 1.2), 32),
        (window_side(bundle, None, 50), 50),
        (window_side(tiling, None), 128),
        (window_side(scaled, None), 32),
    ):
        assert side.pixels == pixels
        assert not side.checked
        assert "not checked" in side.why
