"""Answers between the centres of windows: against SciPy, and where windows are missing, by hand."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fpcn_lightning.field.mapping.cells import Cells
from fpcn_lightning.field.mapping.predictions import WindowPredictions
from fpcn_lightning.field.mapping.surface import Band, Surface
from fpcn_lightning.field.mapping.windows import Windows

CLASSES = ("quartz", "feldspar", "mica")


def surface(
    windows: Windows, probabilities: NDArray[Any], cell: int = 2, threshold: float = 0.5, **changes: Any
) -> Surface:
    cells = Cells(windows.height, windows.width, cell)
    parts: dict[str, Any] = {
        "windows": windows,
        "cells": cells,
        "probabilities": probabilities.astype(np.float32),
        "scores": probabilities.max(-1).astype(np.float32),
        "coverage": np.ones((cells.rows, cells.columns), bool),
        "damaged": 0,
    }
    return Surface(WindowPredictions(**{**parts, **changes}), CLASSES, threshold, None)


def whole(bands: list[Band], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(band, name) for band in bands])


def predictions(windows: Windows) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet((1, 1, 1), (windows.rows, windows.columns))


@pytest.mark.parametrize(("height", "width", "stride"), [(100, 77, 16), (9, 90, 16), (10, 10, 16)])
def test_cells_are_interpolated_between_the_centres_of_windows(height: int, width: int, stride: int) -> None:
    windows = Windows(height, width, 2 * stride, stride)
    probabilities = predictions(windows)
    mapped = surface(windows, probabilities)
    found = whole(list(mapped.bands()), "probabilities")
    first_row, first_column = windows.first
    y, x = np.mgrid[: mapped.rows, : mapped.columns] * 2 + 1.0
    places = [(y - first_row) / stride, (x - first_column) / stride]
    for number in range(3):
        expected = map_coordinates(probabilities[..., number], places, order=1, mode="nearest")
        np.testing.assert_allclose(found[..., number], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_a_cell_in_the_middle_of_a_window_has_its_prediction() -> None:
    windows = Windows(64, 64, 32, 16)
    probabilities = predictions(windows)
    found = whole(list(surface(windows, probabilities, cell=16).bands()), "probabilities")
    np.testing.assert_allclose(found, probabilities, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_bands_of_any_height_are_the_same_map(rows: int) -> None:
    windows = Windows(100, 77, 32, 16)
    mapped = surface(windows, predictions(windows), threshold=0.6)
    expected, bands = list(mapped.bands()), list(mapped.bands(rows))
    assert [band.top for band in bands] == list(range(0, mapped.rows, rows))
    for name in ("probabilities", "unfamiliar", "known"):
        np.testing.assert_array_equal(whole(bands, name), whole(expected, name))


def test_windows_without_an_prediction_leave_it_to_the_others() -> None:
    windows = Windows(16, 48, 32, 16)  # three in a row, centres at 8, 24 and 40
    probabilities = np.array([[[1.0, 0, 0], [np.nan] * 3, [0, 1.0, 0]]])
    mapped = surface(windows, probabilities, cell=4)
    (band,) = mapped.bands()
    assert band.known.all()
    for column, prediction in enumerate([[1, 0, 0]] * 6 + [[0, 1, 0]] * 6):  # the middle window's centre divides them
        np.testing.assert_allclose(band.probabilities[:, column], [prediction] * 4, atol=1e-6)
    lonely = surface(windows, np.array([[[np.nan] * 3, [np.nan] * 3, [0, 1.0, 0]]]), cell=4)
    (band,) = lonely.bands()
    np.testing.assert_array_equal(band.known[0], [False] * 6 + [True] * 6)
    assert not band.probabilities[:, :6].any()
    assert not band.unfamiliar[:, :6].any()


def test_cells_that_are_not_covered_are_not_known() -> None:
    windows = Windows(32, 32, 32, 16)
    coverage = np.random.default_rng(1).random((16, 16)) < 0.5
    (band,) = surface(windows, predictions(windows), threshold=2, coverage=coverage).bands()
    np.testing.assert_array_equal(band.known, coverage)
    np.testing.assert_array_equal(band.unfamiliar, coverage)
    assert not band.probabilities[~coverage].any()


def test_cells_below_the_threshold_are_unfamiliar() -> None:
    windows = Windows(16, 32, 32, 16)  # centres at 8 and 24
    scores = np.array([[0.0, 1.0]], np.float32)
    (band,) = surface(windows, predictions(windows), cell=1, threshold=0.5, scores=scores).bands()
    np.testing.assert_array_equal(band.unfamiliar, np.broadcast_to(np.arange(32) < 16, (16, 32)))
