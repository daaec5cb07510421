"""Whether labels can be told without the rock: from the border of the image, or from the size and format of the file.

A network that finds such a cue is good on the test split of the same data set, and fails elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.audit.findings import Finding, Kind, Severity
from fpcn_lightning.audit.prediction import MeanRecall, mean_recall, probabilities
from fpcn_lightning.data.index import IndexedImage

_STRENGTH = 1.0
_BORDER = 0.1  # width of the border, as a share of the side
_MARGIN = 0.05  # mean recall above chance that is worth a warning, beyond the interval


@dataclass(frozen=True)
class Cue:
    """How well one source of information predicts the labels.

    Attributes:
        name: of the source.
        recall: mean recall; None where it could not be measured.
        chance: mean recall of guessing, 0..1.
        is_rock: whether it is the whole image, which the others are compared with.
    """

    name: str
    recall: MeanRecall | None
    chance: float
    is_rock: bool = False

    @property
    def is_suspicious(self) -> bool:
        """Whether the labels can be told from it clearly better than by guessing."""
        return not self.is_rock and self.recall is not None and self.recall.low > self.chance + _MARGIN

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        if self.recall is None:
            return f"{self.name}: not measured, because a class has too few images"
        found = f"{self.recall.value:.0%} [{self.recall.low:.0%}, {self.recall.high:.0%}]"
        return f"{self.name} alone predicts the class: mean recall {found}, guessing {self.chance:.0%}"


def measure(
    name: str,
    features: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: Sequence[int],
) -> Cue:
    """How well features [N, F] predict labels [N]."""
    found = probabilities(features, labels, groups, _STRENGTH)
    return Cue(name, None if found is None else mean_recall(found, labels), 1 / (int(labels.max()) + 1))


def findings_of(cues: Sequence[Cue]) -> list[Finding]:
    """A warning for each source that labels can be told from, and a note for each that could not be measured."""
    found = []
    for cue in cues:
        if cue.is_suspicious and cue.recall is not None:
            found.append(Finding(Kind.CUE, Severity.WARNING, cue.sentence, score=cue.recall.value))
        elif cue.recall is None and not cue.is_rock:
            found.append(Finding(Kind.SKIPPED, Severity.NOTE, cue.sentence))
    return found


def border_features(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour and texture of the border of an image, uint8 [H, W, 3]: of its four sides and four corners, [56]."""
    image = pixels.astype(np.float64) / 255
    height, width = image.shape[:2]
    down, across = max(2, round(height * _BORDER)), max(2, round(width * _BORDER))
    rows = (slice(0, down), slice(down, height - down), slice(height - down, height))
    columns = (slice(0, across), slice(across, width - across), slice(width - across, width))
    parts = [image[row, column] for i, row in enumerate(rows) for j, column in enumerate(columns) if (i, j) != (1, 1)]
    return np.concatenate([_colour_and_texture(part) for part in parts])


def _colour_and_texture(part: NDArray[np.float64]) -> NDArray[np.float64]:
    grey = part.mean(2)
    steps = [np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1)]
    return np.array([*part.mean((0, 1)), grey.std(), grey.max() - grey.min(), *steps])


def file_features(pictures: Sequence[IndexedImage], formats: Sequence[str]) -> NDArray[np.float64]:
    """Size in pixels and in bytes, and the format, of each file, [N, F]."""
    sizes = np.array([(item.width, item.height, max(1, item.path.stat().st_size)) for item in pictures], np.float64)
    width, height, size = np.log(sizes).T
    kinds = sorted(set(formats))
    known = np.array([[name == kind for kind in kinds] for name in formats], np.float64)
    numbers = np.stack([width, height, width - height, size, size - width - height], axis=1)
    # Sizes that many files share, such as 224 x 224, are cues that a linear function of the size cannot express.
    common = _common_sizes(pictures)
    return np.concatenate([numbers, known, common], axis=1)


def _common_sizes(pictures: Sequence[IndexedImage], most: int = 20) -> NDArray[np.float64]:
    shapes = [(item.width, item.height) for item in pictures]
    values, counts = np.unique(np.array(shapes), axis=0, return_counts=True)
    frequent = values[np.argsort(-counts, kind="stable")[:most]].tolist()
    return np.array([[[*shape] == each for each in frequent] for shape in shapes], np.float64)
