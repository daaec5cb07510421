"""How far a prediction can be relied on: sure, doubtful, unknown or unreadable.

**Plausible classes** of a photograph are

- the prediction set of 90 % coverage, where the bundle has one; else the fewest classes, the most likely first, whose
  calibrated probabilities add up to at least 90 %;
- every other class that is at least half as likely as the most likely one.

A prediction is **sure** if one class alone is plausible, belongs to the prediction set, and has a probability of at
least 50 %. It is **unknown** if its score is below the threshold of the bundle, whatever the probabilities are, and
**doubtful** otherwise.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.model import BundleModel

COVERAGE = 0.9
MIN_SURE = 0.5
RIVAL_SHARE = 0.5
UNFAMILIAR_SHARE = 1 / 3  # of a batch that is unknown: the page then warns of the whole batch


class State(StrEnum):
    """How far a prediction can be relied on, from the best to the worst."""

    SURE = "sure"
    DOUBTFUL = "doubtful"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Verdict:
    """The state of a prediction, and its plausible classes, most likely first; none if it is unreadable."""

    state: State
    plausible: tuple[str, ...] = ()


def usual_coverage(model: BundleModel) -> float | None:
    """The coverage of the bundle's prediction sets that is closest to `COVERAGE`; None if it has none."""
    known = [float(coverage) for coverage in model.bundle.files[model.file]["quantiles"]]
    return min(known, key=lambda coverage: abs(coverage - COVERAGE), default=None)


def verdict(prediction: Prediction, classes: tuple[str, ...]) -> Verdict:
    """Judge a prediction.

    Args:
        prediction: with the prediction set of `usual_coverage`, or None if the bundle has none.
        classes: of the bundle.
    """
    if prediction.probabilities is None:
        return Verdict(State.UNREADABLE)
    order = np.argsort(-prediction.probabilities, kind="stable")
    ranked = prediction.probabilities[order]
    names = [classes[index] for index in order]
    likely = set(_fewest(names, ranked) if prediction.prediction_set is None else prediction.prediction_set)
    expected = names[0] in likely
    likely |= {name for name, share in zip(names, ranked, strict=True) if share >= RIVAL_SHARE * ranked[0]}
    plausible = tuple(name for name in names if name in likely)
    if prediction.unknown:
        return Verdict(State.UNKNOWN, plausible)
    sure = expected and len(plausible) == 1 and ranked[0] >= MIN_SURE
    return Verdict(State.SURE if sure else State.DOUBTFUL, plausible)


def _fewest(names: list[str], ranked: NDArray[np.float32]) -> list[str]:
    """The fewest classes whose probabilities add up to `COVERAGE`."""
    return names[: int(np.searchsorted(np.cumsum(ranked), COVERAGE)) + 1]
