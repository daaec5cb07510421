"""Averages over tiles equal an independent loop, in any order of images; without tiles logits are unchanged."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.modules.voting import averaged, first_rows, voted

POSITIONS = torch.tensor([7, 7, 7, 2, 9, 9, 0])
ORDER = [7, 2, 9, 0]


@pytest.fixture
def logits() -> Tensor:
    return 4 * torch.randn(len(POSITIONS), 3, generator=torch.Generator().manual_seed(0))


def softmax(row: list[float]) -> list[float]:
    weights = [math.exp(value) for value in row]
    return [weight / sum(weights) for weight in weights]


def test_prediction_is_the_mean_of_the_tiles_probabilities(logits: Tensor) -> None:
    predictions = voted(POSITIONS, logits).softmax(1)
    assert predictions.shape == (4, 3)
    for row, picture in enumerate(ORDER):
        tiles = [softmax(logits[tile].tolist()) for tile in range(len(POSITIONS)) if POSITIONS[tile] == picture]
        for label in range(3):
            mean = sum(tile[label] for tile in tiles) / len(tiles)
            assert predictions[row, label].item() == pytest.approx(mean, rel=1e-5)


def test_the_cross_entropy_is_the_negative_logarithm_of_the_mean(logits: Tensor) -> None:
    labels = torch.tensor([2, 0, 1, 1])
    mean = voted(POSITIONS, logits).softmax(1)
    expected = -mean[torch.arange(4), labels].log().mean()
    torch.testing.assert_close(functional.cross_entropy(voted(POSITIONS, logits), labels), expected)


def test_images_keep_their_order() -> None:
    assert POSITIONS[first_rows(POSITIONS)].tolist() == ORDER
    values = torch.arange(7.0)
    assert averaged(POSITIONS, values).tolist() == [1.0, 3.0, 4.5, 6.0]
    assert averaged(POSITIONS, torch.stack([values, -values], 1)).tolist() == [[1, -1], [3, -3], [4.5, -4.5], [6, -6]]


def test_without_tiles_logits_are_unchanged(logits: Tensor) -> None:
    positions = torch.tensor([5, 3, 1, 0, 2, 9, 4])
    assert voted(positions, logits) is logits
    assert averaged(positions, logits) is logits
    assert first_rows(positions).tolist() == [*range(7)]


def test_one_confident_tile_does_not_outweigh_two_by_its_logits() -> None:
    """Probabilities are averaged: a mean of logits would predict 1."""
    sure = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 50.0]])
    assert voted(torch.zeros(3, dtype=torch.long), sure).argmax(1).tolist() == [0]


def test_a_class_with_zero_probability_has_a_finite_loss() -> None:
    sure = torch.tensor([[500.0, 0.0], [500.0, 0.0]])
    loss = functional.cross_entropy(voted(torch.zeros(2, dtype=torch.long), sure), torch.tensor([1]))
    assert 80 < loss < 120
