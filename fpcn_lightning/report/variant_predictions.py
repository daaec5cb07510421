"""The predictions of a variant's runs on the same test pictures."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.bootstrap import OutcomeSample
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.predictions import read_clusters, read_predictions


@dataclass(frozen=True)
class VariantPredictions:
    """A variant's predictions on the P test pictures under its configured inference mode, over its seeds.

    Attributes:
        fingerprint: of the split.
        names: of the pictures, sorted.
        sample: right and wrong predictions of each seed.
        object_ratio: [P], mean over seeds of the share that the network finds to be object; NaN where it is unknown.
        true_object_ratio: [P], the same by the masks of the data set.
    """

    fingerprint: str
    names: tuple[str, ...]
    sample: OutcomeSample
    object_ratio: NDArray[np.float64]
    true_object_ratio: NDArray[np.float64]

    def is_comparable(self, other: "VariantPredictions") -> bool:
        """Whether both were tested on the same pictures of the same split, in the same groups."""
        same = (self.fingerprint, self.names) == (other.fingerprint, other.names)
        return same and np.array_equal(self.sample.clusters, other.sample.clusters)


def read_variant_predictions(variant: Variant) -> VariantPredictions:
    """Read the predictions of all tested runs of a variant.

    Raises:
        UserError: a file is missing or damaged, or the runs were not tested on the same pictures and groups.
    """
    if variant.folds:
        return _of_folds(variant)
    predictions = [read_predictions(run) for run in variant.tested]
    first, data = predictions[0], variant.tested[0][1]["data"]
    if any(each.names != first.names for each in predictions):
        raise UserError("its runs were tested on different pictures.")
    clusters = [read_clusters(folder, first.names) for folder, _ in variant.tested]
    if any(not np.array_equal(each, clusters[0]) for each in clusters):
        raise UserError("its runs put the test pictures into different groups.")
    sample = OutcomeSample(
        seeds=tuple(result["seed"] for _, result in variant.tested),
        outcomes=np.stack([each.correct for each in predictions]),
        clusters=clusters[0],
    )
    found = np.stack([each.object_ratio for each in predictions]).mean(axis=0)
    return VariantPredictions(data["fingerprint"] if data else "", first.names, sample, found, first.true_object_ratio)


def _of_folds(variant: Variant) -> VariantPredictions:
    """The predictions of all folds of a cross-validation as those of one seed: each picture is tested once."""
    predictions = [read_predictions(run) for run in variant.tested]
    names = [name for each in predictions for name in each.names]
    order = np.argsort(names, kind="stable")
    ordered = tuple(names[place] for place in order)
    right, found, true = (
        np.concatenate([getattr(each, attribute) for each in predictions])[order]
        for attribute in ("correct", "object_ratio", "true_object_ratio")
    )
    folder, first = variant.tested[0]
    sample = OutcomeSample((first["seed"],), right[None], read_clusters(folder, ordered))
    prints = {result["data"]["fingerprint"] for _, result in variant.tested if result["data"]}
    return VariantPredictions(" ".join(sorted(prints)), ordered, sample, found, true)
