import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.deploy.calibration import (
    calibration_error,
    conformal_quantiles,
    fitted_temperature,
    threshold,
)
from fpcn_lightning.field.measures import BINS


def drawn(count: int, temperature: float, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits that are calibrated after division by `temperature`, and labels drawn with their probabilities."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(count, classes, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=generator).squeeze(1)
    return true * temperature, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_the_labels_were_drawn_with_is_found(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)
    found = fitted_temperature(torch.arange(len(labels)), logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    before = calibration_error(logits.softmax(1), labels)
    after = calibration_error((logits / found).softmax(1), labels)
    assert after < 0.02
    assert temperature == 1.0 or after < before / 3


def test_tiles_are_fitted_by_the_mean_of_their_probabilities() -> None:
    logits, labels = drawn(4_000, 2.0)
    positions = torch.arange(len(labels)).repeat_interleave(2)
    twice = logits.repeat_interleave(2, 0) + torch.randn(len(positions), 5, generator=torch.Generator().manual_seed(1))
    found = fitted_temperature(positions, twice, labels.repeat_interleave(2))

    def cost(temperature: float) -> float:
        means = (twice / temperature).softmax(1).view(-1, 2, 5).mean(1)
        return float(functional.nll_loss(means.log(), labels))

    assert cost(found) < min(cost(found * 1.05), cost(found / 1.05))


def test_pictures_without_a_mistake_do_not_make_all_predictions_certain() -> None:
    labels = torch.arange(100) % 4
    logits = functional.one_hot(labels, 4).double()
    found = fitted_temperature(torch.arange(100), logits, labels)
    assert 0.98 < float((logits / found).softmax(1).amax(1).min()) < 0.999


def test_calibration_error_agrees_with_a_loop() -> None:
    logits, labels = drawn(500, 2.0)
    probabilities = logits.softmax(1).float()
    confidence, prediction = probabilities.max(1)
    expected = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            right = (prediction[inside] == labels[inside]).double().mean()
            expected += float(inside.double().mean() * (right - confidence[inside].mean()).abs())
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("count", [20, 30, 207])
@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_threshold_keeps_the_requested_share_of_other_pictures(count: int, coverage: float) -> None:
    """Over many draws; the share of the fitted pictures themselves would keep 91 % with 20 pictures, not 95 %."""
    generator = torch.Generator().manual_seed(count)
    uniform = torch.rand(4000, count, generator=generator)  # the kept share of others is 1 - threshold
    kept = 1 - np.mean([threshold(scores, coverage) for scores in uniform])
    assert kept == pytest.approx(coverage, abs=0.003)


@pytest.mark.parametrize("count", [1, 7, 18])
def test_with_few_pictures_the_threshold_is_the_lowest_score(count: int) -> None:
    scores = torch.randn(count, generator=torch.Generator().manual_seed(count))
    assert threshold(scores, 0.95) == pytest.approx(float(scores.min()))


def test_prediction_sets_include_the_true_class_as_often_as_guaranteed() -> None:
    """Over many draws of few pictures; the guarantee is for the mean."""
    included: dict[str, list[float]] = {}
    for seed in range(200):
        logits, labels = drawn(60, 1.0, seed=seed)
        probabilities = logits.softmax(1)
        own, others = slice(0, 40), slice(40, 60)
        for coverage, quantile in conformal_quantiles(probabilities[own], labels[own]).items():
            true = probabilities[others][torch.arange(20), labels[others]]
            included.setdefault(coverage, []).append(float((1 - true <= quantile).double().mean()))
    assert list(included) == ["0.8", "0.9", "0.95", "0.99"]
    for coverage, shares in included.items():
        assert np.mean(shares) >= float(coverage) - 0.02
    assert np.mean(included["0.8"]) < 0.86  # sets that always include all classes would be useless
    assert np.mean(included["0.99"]) == 1  # 40 pictures are too few to guarantee 99 %


def test_the_quantile_is_that_of_a_finite_sample() -> None:
    true = torch.linspace(0.05, 0.95, 19).double()
    probabilities = torch.stack([true, 1 - true], 1)
    quantiles = conformal_quantiles(probabilities, torch.zeros(19, dtype=torch.long))
    assert quantiles["0.8"] == pytest.approx(0.8)  # the 16th of 19
    assert quantiles["0.95"] == pytest.approx(0.95)  # the 19th
    assert quantiles["0.99"] == 1
