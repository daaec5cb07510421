"""Whether a model may be used at all: one rule for the export, which applies it, and for all that shows its result.

A model is not usable if

- the lower limit of the 95 % interval of its accuracy is not above the share of the largest class, or above chance;
- it had fewer than `MIN_VALIDATION_PICTURES`: with a coverage of 95 %, the threshold of `unknown` is then the lowest
  score of all, and no prediction set of that coverage leaves out a class (`fpcn_lightning.deploy.calibration`);
- its calibration error is above `MAX_CALIBRATION_ERROR`, and above what perfectly calibrated predictions of as many
  pictures show in 19 of 20 samples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.measures import calibration_error, error_by_chance
from fpcn_lightning.intervals import wilson_interval

MIN_VALIDATION_PICTURES = 20
MAX_CALIBRATION_ERROR = 0.15
MAX_REASONS = 10
NOT_USABLE = "not usable"


@dataclass(frozen=True)
class Usability:
    """The verdict on a model.

    Attributes:
        reasons: why it is not usable, each a part of a sentence; none if it is usable.
        notice: a sentence of its author that everybody who uses it must read; empty if there is none.
    """

    reasons: tuple[str, ...] = ()
    notice: str = ""

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    @property
    def sentence(self) -> str:
        """The verdict with its reasons, without a full stop; empty for a usable model."""
        return f"{NOT_USABLE}: {'; '.join(self.reasons)}" if self.reasons else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The sentences that precede every result of the model: the notice, and the verdict if it is not usable."""
        return tuple(filter(None, (self.notice, f"The model is {self.sentence}." if self.reasons else "")))


USABLE = Usability()


def judge(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], *, split: str, validation_pictures: int
) -> Usability:
    """Judge a model by its calibrated predictions.

    Args:
        probabilities: [P, C].
        labels: [P].
        split: what the pictures are called, such as `test`.
        validation_pictures: number of pictures that it was calibrated on.
    """
    reasons = []
    total, classes = probabilities.shape
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    right = int(correct.sum())
    low, high = wilson_interval(right, total)
    largest = int(np.bincount(labels, minlength=1).max()) / max(total, 1)
    baseline = max(1 / classes, largest)
    if low <= baseline:
        reasons.append(
            f"accuracy {right / max(total, 1):.1%} (95 % interval {low:.1%} to {high:.1%}) on {total:,} {split} "
            f"pictures is not above the {baseline:.1%} of always naming one class"
        )
    if validation_pictures < MIN_VALIDATION_PICTURES:
        reasons.append(
            f"{validation_pictures} validation pictures are too few to calibrate probabilities and what is unknown: "
            f"{MIN_VALIDATION_PICTURES} are needed"
        )
    error = calibration_error(confidence, correct)
    if error > max(MAX_CALIBRATION_ERROR, error_by_chance(confidence)):
        reasons.append(
            f"calibration error {error:.1%} on {total:,} {split} pictures, above {MAX_CALIBRATION_ERROR:.0%}: its "
            "probabilities do not mean what they say"
        )
    return Usability(tuple(reasons))
