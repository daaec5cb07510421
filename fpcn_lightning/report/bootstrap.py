"""Intervals of means over seeds and test pictures: percentile bootstrap with clusters (Efron and Tibshirani, 1993).

A replicate draws test pictures with replacement, and seeds with replacement, independently of each other. Pictures of
one cluster (a specimen, a series) are drawn as a whole, because they are not independent. With a single seed only
pictures are drawn: the interval then does not cover the spread over seeds. With fewer than five it is too narrow,
since a sample of three shows two thirds of the variance on average.

Draws depend on the number of clusters and seeds alone, so every row of a table sees the same replicates: a difference
is paired by picture and seed, and that of a row with itself is exactly zero.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.intervals import wilson_interval

REPLICATES = 4000
LEVEL = 0.95
_RANDOM_SEED = 20231123
_PICTURES, _SEEDS, _OTHER_SEEDS = range(3)  # independent streams of draws


@dataclass(frozen=True)
class Estimate:
    """A mean or a difference of means, and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)  # equal only to itself, so that its replicates can be cached
class OutcomeSample:
    """Outcomes on the same P test pictures with each of S seeds.

    Attributes:
        seeds: S seeds, each once.
        outcomes: [S, P], 1 for a right prediction and 0 for a wrong one; or any other measure of a picture, about 0..1.
        clusters: [P], whole numbers; pictures with the same number are drawn together.
    """

    seeds: tuple[int, ...]
    outcomes: NDArray[np.float64]
    clusters: NDArray[np.int64]

    def of_pictures(self, chosen: NDArray[np.bool_]) -> "OutcomeSample":
        """The sample of the pictures that `chosen`, [P], marks."""
        return replace(self, outcomes=self.outcomes[:, chosen], clusters=self.clusters[chosen])

    def of_seeds(self, seeds: tuple[int, ...]) -> "OutcomeSample":
        """The sample of some of its seeds."""
        if seeds == self.seeds:
            return self
        rows = [self.seeds.index(seed) for seed in seeds]
        return replace(self, seeds=seeds, outcomes=self.outcomes[rows])


def mean(sample: OutcomeSample) -> Estimate:
    """The mean over seeds and pictures."""
    return _estimate(float(sample.outcomes.mean()), _replicates(sample, _SEEDS))


def share_of_right(sample: OutcomeSample) -> Estimate:
    """The accuracy over seeds and pictures.

    Where every outcome is the same, replicates do not differ, and the interval would claim certainty: it is then
    Wilson's, with one trial for each cluster.
    """
    found = mean(sample)
    if sample.outcomes.min() < sample.outcomes.max():
        return found
    clusters = len(np.unique(sample.clusters))
    return Estimate(found.value, *wilson_interval(found.value * clusters, clusters))


def difference(sample: OutcomeSample, reference: OutcomeSample) -> Estimate:
    """The mean minus that of `reference` on the same pictures, over the seeds that both have.

    Without a common seed, all seeds of both are used and drawn independently of each other. Pictures are always paired.
    """
    common = tuple(seed for seed in sample.seeds if seed in reference.seeds)
    if common:
        sample, reference = sample.of_seeds(common), reference.of_seeds(common)
    value = float(sample.outcomes.mean() - reference.outcomes.mean())
    other = _replicates(reference, _SEEDS if common else _OTHER_SEEDS)
    return _estimate(value, _replicates(sample, _SEEDS) - other)


def _estimate(value: float, replicates: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


@lru_cache(maxsize=64)
def _replicates(sample: OutcomeSample, seeds_from: int) -> NDArray[np.float64]:
    """The mean of each replicate: [REPLICATES]."""
    _, clusters = np.unique(sample.clusters, return_inverse=True)
    # One row for each seed, the last one counts. Whole numbers stay far below 2^24, which float32 holds exactly; others
    # are off by a ten-millionth part, which no table shows.
    rows = [*sample.outcomes, np.ones(len(clusters))]
    sums = np.stack([np.bincount(clusters, weights=row) for row in rows]).astype(np.float32)
    drawn = (_draws(sums.shape[1], _PICTURES) @ sums.T).astype(np.float64)
    right, pictures = drawn[:, :-1], drawn[:, -1]
    number = right.shape[1]
    means: NDArray[np.float64] = (right * _draws(number, seeds_from)).sum(axis=1) / (number * pictures)
    return means


@lru_cache(maxsize=4)
def _draws(number: int, stream: int) -> NDArray[np.float32]:
    """How often each of `number` items is drawn in each replicate: [REPLICATES, number]."""
    random = np.random.default_rng((_RANDOM_SEED, stream))
    shares = np.full(number, 1 / number)
    # In parts, because NumPy draws in numbers of eight bytes.
    parts = [random.multinomial(number, shares, size=REPLICATES // 8).astype(np.float32) for _ in range(8)]
    return np.concatenate(parts)
