"""What the predictions of a bundle are worth on labelled photographs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fpcn_lightning.field.classify import Prediction
from fpcn_lightning.field.measures import calibration_error, error_by_chance
from fpcn_lightning.field.usability import USABLE, Usability
from fpcn_lightning.intervals import Interval, wilson_interval

UNKNOWN = "(unknown)"
"""The column of a matrix of confusions for photographs that the model calls unknown."""


@dataclass(frozen=True)
class CheckedPicture:
    """A photograph with its label and its prediction."""

    label: str
    prediction: Prediction

    def probability(self, classes: Sequence[str]) -> float:
        """Of the label, 0..1; 0 if the model does not know it."""
        probabilities = self.prediction.probabilities
        assert probabilities is not None  # asked of readable photographs only
        return float(probabilities[classes.index(self.label)]) if self.label in classes else 0.0

    def predicted(self, classes: Sequence[str]) -> str:
        """The most likely class."""
        assert self.prediction.probabilities is not None
        return classes[int(self.prediction.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Probability of the most likely class."""
        assert self.prediction.probabilities is not None
        return float(self.prediction.probabilities.max())


@dataclass(frozen=True)
class LabelCounts:
    """Photographs of one label."""

    label: str
    pictures: int
    right: int
    unknown: int


@dataclass(frozen=True)
class CheckSummary:
    """Accuracy, calibration and confusions of a bundle on labelled photographs.

    Attributes:
        classes: that the model knows.
        pictures: all of them, in the order of the source.
        usability: whether the bundle may be used.
    """

    classes: tuple[str, ...]
    pictures: tuple[CheckedPicture, ...]
    usability: Usability = USABLE

    @cached_property
    def unreadable(self) -> list[CheckedPicture]:
        """Those without a prediction."""
        return [picture for picture in self.pictures if picture.prediction.probabilities is None]

    @cached_property
    def known(self) -> list[CheckedPicture]:
        """Readable ones whose label the model knows; accuracy and calibration are those of these."""
        return [picture for picture in self._readable if picture.label in self.classes]

    @cached_property
    def foreign(self) -> list[CheckedPicture]:
        """Readable ones whose label the model does not know: it should call all of them unknown."""
        return [picture for picture in self._readable if picture.label not in self.classes]

    @cached_property
    def right(self) -> int:
        """Number of known ones whose most likely class is their label, whether it is called unknown or not."""
        return sum(picture.predicted(self.classes) == picture.label for picture in self.known)

    @property
    def accuracy(self) -> float | None:
        """Share of `right`, 0..1; None without photographs of a known class."""
        return self.right / len(self.known) if self.known else None

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the accuracy."""
        return wilson_interval(self.right, len(self.known))

    @cached_property
    def calibration_error(self) -> float:
        """Expected difference between confidence and accuracy, 0..1."""
        return calibration_error(*self._confidence)

    @cached_property
    def error_by_chance(self) -> float:
        """What the calibration error of perfectly calibrated predictions stays below in 19 of 20 samples."""
        return error_by_chance(self._confidence[0])

    @cached_property
    def unknown(self) -> int:
        """Number of known ones that are called unknown."""
        return sum(bool(picture.prediction.unknown) for picture in self.known)

    @cached_property
    def labels(self) -> list[LabelCounts]:
        """By label: the classes of the model that occur, in its order, then the others."""
        totals = Counter(picture.label for picture in self._readable)
        right = Counter(each.label for each in self.known if each.predicted(self.classes) == each.label)
        unknown = Counter(each.label for each in self._readable if each.prediction.unknown)
        order = [name for name in self.classes if name in totals]
        order += sorted(totals.keys() - set(order))
        return [LabelCounts(label, totals[label], right[label], unknown[label]) for label in order]

    @cached_property
    def confusion(self) -> list[list[int]]:
        """Photographs by label (rows as `labels`) and prediction (`classes`, then `UNKNOWN`)."""
        rows = {count.label: [0] * (len(self.classes) + 1) for count in self.labels}
        for picture in self._readable:
            predicted = -1 if picture.prediction.unknown else self.classes.index(picture.predicted(self.classes))
            rows[picture.label][predicted] += 1
        return list(rows.values())

    def worst(self, count: int) -> list[CheckedPicture]:
        """Wrong predictions of known labels that are not called unknown, the least likely label first."""
        wrong = [
            picture
            for picture in self.known
            if not picture.prediction.unknown and picture.predicted(self.classes) != picture.label
        ]
        return sorted(wrong, key=lambda picture: picture.probability(self.classes))[:count]

    @cached_property
    def _readable(self) -> list[CheckedPicture]:
        return [picture for picture in self.pictures if picture.prediction.probabilities is not None]

    @cached_property
    def _confidence(self) -> tuple[np.ndarray, np.ndarray]:
        confidence = np.array([picture.confidence for picture in self.known], np.float64)
        return confidence, np.array([picture.predicted(self.classes) == picture.label for picture in self.known], bool)
