"""Confidence that means something: temperature, threshold of `unknown`, sizes of prediction sets. Pure functions.

All of it is fitted on the validation side, on which the best epoch was chosen, too. That leaves it a little optimistic.
"""

import math

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error

from fpcn_lightning.modules.voting import first_rows, voted

LEAST, MOST = 0.05, 20.0  # temperature
BINS = 15  # of confidence, in the calibration error
COVERAGES = (0.8, 0.9, 0.95, 0.99)


def fitted_temperature(positions: Tensor, logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least cross entropy (Guo et al., ICML 2017) of the answers to whole pictures.

    One picture more than there are is imagined, whose class could be any: without it, a side that was answered without
    a mistake would make every confidence 1 (Platt scaling has the same remedy).

    Args:
        positions: long [N], the picture of each row; the rows of one follow each other.
        logits: [N, C].
        labels: long [N], the same for all rows of a picture.
    """
    truth = labels[first_rows(positions)]
    doubt = 1 / (len(truth) + 1)

    def cost(exponent: float) -> float:
        predictions = voted(positions, logits.double() / math.exp(exponent))
        return float(functional.cross_entropy(predictions, truth, label_smoothing=doubt))

    found = minimize_scalar(cost, bounds=(math.log(LEAST), math.log(MOST)), method="bounded")
    return math.exp(float(found.x))


def at_a_limit(temperature: float) -> bool:
    """Whether a fitted temperature lies at the end of what is tried, where confidence means little."""
    return not 1.01 * LEAST < temperature < MOST / 1.01


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """The expected distance between confidence and accuracy, 0..1, of probabilities [P, C] with labels [P]."""
    classes = probabilities.shape[1]
    return float(multiclass_calibration_error(probabilities, labels, classes, n_bins=BINS, norm="l1"))


def threshold(scores: Tensor, coverage: float) -> float:
    """The largest of the scores [P] that at least the share `coverage` of them reaches."""
    below = math.floor((1 - coverage) * len(scores) + 1e-9)  # 0.05 * 20 is 1, whatever its last bit says
    return float(scores.sort().values[min(below, len(scores) - 1)])


def conformal_quantiles(probabilities: Tensor, labels: Tensor) -> dict[str, float]:
    """By coverage, how much may be missing from 1 in the probability of a class of the prediction set.

    Split conformal prediction (Vovk et al. 2005; Angelopoulos, Bates 2021, section 1): a set of all classes with
    1 - probability at most this holds the true one with at least that chance, for pictures of the kind of these. 1,
    all classes, where there are too few pictures to promise less.

    Args:
        probabilities: [P, C].
        labels: long [P].
    """
    missing = (1 - probabilities[torch.arange(len(labels)), labels]).sort().values
    return {f"{coverage:g}": _finite_sample_quantile(missing, coverage) for coverage in COVERAGES}


def _finite_sample_quantile(values: Tensor, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th of n sorted values; 1 where there are fewer."""
    rank = math.ceil((len(values) + 1) * coverage - 1e-9)
    return float(values[rank - 1]) if rank <= len(values) else 1.0
