"""How far the confidence of predictions with known labels is from their accuracy."""

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of confidence, in the calibration error
_MAX_DRAWS, _MIN_DRAWS = 1000, 20
_NUMBERS = 2_000_000  # drawn at once, which bounds memory


def calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """The expected difference between confidence and accuracy (Guo et al., ICML 2017), 0..1; 0 without pictures.

    Args:
        confidence: [P], probability of the predicted class.
        correct: [P], whether it is the true one.
    """
    return float(_errors(confidence, correct[None])[0]) if len(confidence) else 0.0


def error_by_chance(confidence: NDArray[np.floating], share: float = 0.95) -> float:
    """The calibration error that perfectly calibrated predictions of these confidences [P] stay below in `share` of
    samples: with few pictures it is far from 0 (Broecker, Smith, Weather and Forecasting 2007). 1 without pictures.
    """
    if not len(confidence):
        return 1.0
    draws = max(_MIN_DRAWS, min(_MAX_DRAWS, _NUMBERS // len(confidence)))
    drawn = np.random.default_rng(0).random((draws, len(confidence))) < confidence
    return float(np.quantile(_errors(confidence, drawn), share))


def _errors(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The calibration error [N] of each of N outcomes [N, P]."""
    edges = np.linspace(0, 1, BINS + 1, dtype=np.float32)
    places = np.searchsorted(edges, confidence.astype(np.float32), side="right")
    member = np.zeros((len(confidence), BINS + 2))
    member[np.arange(len(confidence)), places] = 1
    surplus = (correct - confidence[None].astype(np.float64)) @ member
    return np.asarray(np.abs(surplus).sum(axis=1) / len(confidence))
