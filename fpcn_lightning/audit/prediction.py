"""How well labels are predicted from features, cross-validated, with copies of one photograph in one fold."""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
_ITERATIONS = 300


class MeanRecall(NamedTuple):
    """The mean over classes of the share of their images that is predicted correctly, and its 95 % interval, 0..1."""

    value: float
    low: float
    high: float


def probabilities(
    features: NDArray[np.float64], labels: NDArray[np.int64], groups: Sequence[int], strength: float
) -> NDArray[np.float64] | None:
    """Probabilities [N, C] of the classes of each image, from a logistic regression on the other folds.

    Classes count equally, whatever their number of images.

    Args:
        features: [N, F].
        labels: [N], 0 to C - 1, each at least once.
        groups: of the images, which are not divided between folds.
        strength: C of the regression, the inverse of its penalty, on standardised features.

    Returns:
        None where a class has fewer than two groups.
    """
    groups_of_class = [len(set(np.asarray(groups)[labels == label].tolist())) for label in range(int(labels.max()) + 1)]
    folds = min(FOLDS, *groups_of_class)
    if folds < 2 or len(groups_of_class) < 2:
        return None
    found = np.zeros((len(labels), len(groups_of_class)))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    for train, test in splitter.split(features, labels, groups):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight="balanced")
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features[train], labels[train])
        found[np.ix_(test, model.classes_)] = model.predict_proba(features[test])
    return found


def mean_recall(found: NDArray[np.float64], labels: NDArray[np.int64]) -> MeanRecall:
    """The mean recall of probabilities [N, C] and its interval, which does not cover the choice of the folds.

    The interval is normal, of recalls with two right and two wrong predictions added (Agresti and Coull, The American
    Statistician 1998).
    """
    right = found.argmax(1) == labels
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=right)
    value = float((hits / counts).mean())
    recalls = (hits + 2) / (counts + 4)
    error = math.sqrt(float((recalls * (1 - recalls) / (counts + 4)).sum())) / len(counts)
    return MeanRecall(value, max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error))
