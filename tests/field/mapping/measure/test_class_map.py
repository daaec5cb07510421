"""Predictions between the centres of windows, against SciPy; and the map of classes with the shares of its classes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.classify.grid import CellGrid, WindowGrid
from fpcn_lightning.field.mapping.classify.prediction_store import WindowPredictions
from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, CellBand, CellPredictions, make_class_map
from tests.field.mapping.drawn import DrawnPredictions

CLASSES = ("quartz", "feldspar", "mica")


def cell_predictions(
    windows: WindowGrid, probabilities: NDArray[Any], cell: int = 2, threshold: float = 0.5, **changes: Any
) -> CellPredictions:
    cells = CellGrid(windows.height, windows.width, cell)
    parts: dict[str, Any] = {
        "windows": windows,
        "cells": cells,
        "probabilities": probabilities.astype(np.float32),
        "scores": probabilities.max(-1).astype(np.float32),
        "coverage": np.ones((cells.rows, cells.columns), bool),
        "damaged": 0,
    }
    return CellPredictions(WindowPredictions(**{**parts, **changes}), CLASSES, threshold, None)


def whole(bands: list[CellBand], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(band, name) for band in bands])


def predictions(windows: WindowGrid) -> NDArray[np.float64]:
    return np.random.default_rng(0).dirichlet((1, 1, 1), (windows.rows, windows.columns))


@pytest.mark.parametrize(("height", "width", "stride"), [(100, 77, 16), (9, 90, 16), (10, 10, 16)])
def test_cells_are_interpolated_between_the_centres_of_windows(height: int, width: int, stride: int) -> None:
    windows = WindowGrid(height, width, 2 * stride, stride)
    probabilities = predictions(windows)
    mapped = cell_predictions(windows, probabilities)
    found = whole(list(mapped.bands()), "probabilities")
    first_row, first_column = windows.first_centre
    y, x = np.mgrid[: mapped.rows, : mapped.columns] * 2 + 1.0
    places = [(y - first_row) / stride, (x - first_column) / stride]
    for number in range(3):
        expected = map_coordinates(probabilities[..., number], places, order=1, mode="nearest")
        np.testing.assert_allclose(found[..., number], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


def test_a_cell_in_the_middle_of_a_window_has_its_prediction() -> None:
    windows = WindowGrid(64, 64, 32, 16)
    probabilities = predictions(windows)
    found = whole(list(cell_predictions(windows, probabilities, cell=16).bands()), "probabilities")
    np.testing.assert_allclose(found, probabilities, atol=1e-6)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_bands_of_any_height_are_the_same_map(rows: int) -> None:
    windows = WindowGrid(100, 77, 32, 16)
    mapped = cell_predictions(windows, predictions(windows), threshold=0.6)
    expected, bands = list(mapped.bands()), list(mapped.bands(rows))
    assert [band.top for band in bands] == list(range(0, mapped.rows, rows))
    for name in ("probabilities", "unfamiliar", "known"):
        np.testing.assert_array_equal(whole(bands, name), whole(expected, name))


def test_cells_near_windows_without_prediction_use_the_other_windows() -> None:
    windows = WindowGrid(16, 48, 32, 16)  # three in a row, centres at 8, 24 and 40
    probabilities = np.array([[[1.0, 0, 0], [np.nan] * 3, [0, 1.0, 0]]])
    mapped = cell_predictions(windows, probabilities, cell=4)
    (band,) = mapped.bands()
    assert band.known.all()
    for column, prediction in enumerate([[1, 0, 0]] * 6 + [[0, 1, 0]] * 6):  # divided by the middle window's centre
        np.testing.assert_allclose(band.probabilities[:, column], [prediction] * 4, atol=1e-6)
    single = cell_predictions(windows, np.array([[[np.nan] * 3, [np.nan] * 3, [0, 1.0, 0]]]), cell=4)
    (band,) = single.bands()
    np.testing.assert_array_equal(band.known[0], [False] * 6 + [True] * 6)
    assert not band.probabilities[:, :6].any()
    assert not band.unfamiliar[:, :6].any()


def test_cells_that_are_not_covered_are_not_known() -> None:
    windows = WindowGrid(32, 32, 32, 16)
    coverage = np.random.default_rng(1).random((16, 16)) < 0.5
    (band,) = cell_predictions(windows, predictions(windows), threshold=2, coverage=coverage).bands()
    np.testing.assert_array_equal(band.known, coverage)
    np.testing.assert_array_equal(band.unfamiliar, coverage)
    assert not band.probabilities[~coverage].any()


def test_cells_below_the_threshold_are_unfamiliar() -> None:
    windows = WindowGrid(16, 32, 32, 16)  # centres at 8 and 24
    scores = np.array([[0.0, 1.0]], np.float32)
    (band,) = cell_predictions(windows, predictions(windows), cell=1, threshold=0.5, scores=scores).bands()
    np.testing.assert_array_equal(band.unfamiliar, np.broadcast_to(np.arange(32) < 16, (16, 32)))


def test_the_most_likely_class_and_its_probability() -> None:
    probabilities = np.random.default_rng(0).dirichlet((1, 1, 1), (23, 17))
    probabilities[4:9, 3:12] = np.nan
    scores = np.random.default_rng(1).normal(size=(23, 17))
    found = make_class_map(DrawnPredictions(probabilities, scores, cell=3, height=68, width=50))
    known = ~np.isnan(probabilities[..., 0])
    assert (found.codes[known] == probabilities.argmax(-1)[known]).all()
    assert (found.confidence[known] == np.rint(100 * probabilities.max(-1))[known]).all()
    assert (found.codes[~known] == NO_DATA).all()
    assert (found.confidence[~known] == NO_DATA).all()
    assert (found.unfamiliar == (scores < 0) & known).all()


def test_a_section_without_data() -> None:
    found = make_class_map(DrawnPredictions(np.full((5, 6, 2), np.nan)))
    assert (found.codes == NO_DATA).all()


def test_a_byte_encodes_255_classes() -> None:
    assert make_class_map(DrawnPredictions(np.eye(255)[None])).codes[0].tolist() == list(range(255))
    with pytest.raises(UserError, match="at most 255 classes"):
        make_class_map(DrawnPredictions(np.ones((1, 1, 256))))
