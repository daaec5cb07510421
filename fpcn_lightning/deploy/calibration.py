"""Calibrated confidence: temperature, threshold of `unknown`, quantiles of prediction sets. Pure functions.

All of it is fitted on the validation pictures, on which the best epoch was chosen too, so it is slightly optimistic.
"""

import math

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.field import measures
from fpcn_lightning.modules.voting import first_rows, voted

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
COVERAGES = (0.8, 0.9, 0.95, 0.99)


def fitted_temperature(positions: Tensor, logits: Tensor, labels: Tensor) -> float:
    """The temperature with the smallest cross entropy (Guo et al., ICML 2017) of the predictions for whole pictures.

    The labels are smoothed as if there were one more picture, of any class. Without it, a network without mistakes on
    these pictures would get a confidence of 1 for all (Platt scaling has the same correction).

    Args:
        positions: long [N], the picture of each row; the rows of one follow each other.
        logits: [N, C].
        labels: long [N], the same for all rows of a picture.
    """
    truth = labels[first_rows(positions)]
    smoothing = 1 / (len(truth) + 1)

    def cost(exponent: float) -> float:
        predictions = voted(positions, logits.double() / math.exp(exponent))
        return float(functional.cross_entropy(predictions, truth, label_smoothing=smoothing))

    bounds = (math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE))
    found = minimize_scalar(cost, bounds=bounds, method="bounded")
    return math.exp(float(found.x))


def at_a_limit(temperature: float) -> bool:
    """Whether a fitted temperature is at a limit of the search, where confidence means little."""
    return not 1.01 * MIN_TEMPERATURE < temperature < MAX_TEMPERATURE / 1.01


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """The expected difference between confidence and accuracy, 0..1, of probabilities [P, C] with labels [P]."""
    confidence, predicted = probabilities.max(1)
    return measures.calibration_error(confidence.numpy(), (predicted == labels).numpy())


def threshold(scores: Tensor, coverage: float) -> float:
    """The score that a share `coverage` of other pictures of the same kind is expected to reach, from the scores [P].

    The quantile of rank (1 - coverage) (P + 1), interpolated between two scores: with few pictures, the share of those
    at hand is too optimistic (`experiments/unknown`). The lowest score if there are too few for the coverage.
    """
    return float(np.quantile(scores.double().numpy(), 1 - coverage, method="weibull"))


def conformal_quantiles(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """By coverage, the limit of 1 - probability for a class of the prediction set.

    Split conformal prediction (Vovk et al. 2005; Angelopoulos, Bates 2021, section 1): the set of all classes with
    1 - probability at most this includes the true one with at least that probability, for pictures of the same kind. 1,
    all classes, if there are too few pictures for the coverage.

    Args:
        probabilities: [P, C].
        labels: long [P].
    """
    missing = (1 - probabilities[torch.arange(len(labels)), labels]).sort().values
    return {f"{coverage:g}": _finite_sample_quantile(missing, coverage) for coverage in COVERAGES}


def _finite_sample_quantile(values: Tensor, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th of n sorted values; 1 if there are fewer."""
    rank = math.ceil((len(values) + 1) * coverage - 1e-9)
    return float(values[rank - 1]) if rank <= len(values) else 1.0
