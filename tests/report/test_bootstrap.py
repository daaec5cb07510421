from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from scipy.stats import bootstrap as scipy_bootstrap

from fpcn_lightning.intervals import wilson_interval
from fpcn_lightning.report.bootstrap import (
    REPLICATES,
    Estimate,
    OutcomeSample,
    difference,
    mean,
    share_of_right,
)


def sample_of(outcomes: ArrayLike, clusters: ArrayLike | None = None, first_seed: int = 0) -> OutcomeSample:
    values = np.atleast_2d(np.asarray(outcomes, dtype=float))
    numbers = np.arange(values.shape[1]) if clusters is None else np.asarray(clusters)
    return OutcomeSample(tuple(range(first_seed, first_seed + len(values))), values, numbers)


def coins(shape: tuple[int, ...], chance: float, seed: int) -> np.ndarray:
    drawn: np.ndarray = (np.random.default_rng(seed).random(shape) < chance).astype(float)
    return drawn


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def test_one_seed_agrees_with_scipy() -> None:
    right, less = coins((300,), 0.8, 1), coins((300,), 0.7, 2)
    options: dict[str, Any] = {"method": "percentile", "n_resamples": 20_000, "rng": np.random.default_rng(3)}
    # An end of the interval has a Monte-Carlo error of about 0.04 standard errors with 4,000 replicates.
    tolerance = 0.2 * right.std() / np.sqrt(300)

    expected = scipy_bootstrap((right,), np.mean, **options).confidence_interval
    assert ends(mean(sample_of(right))) == pytest.approx((expected.low, expected.high), abs=tolerance)

    paired = scipy_bootstrap((right, less), lambda a, b, axis: (a - b).mean(axis), paired=True, **options)
    found = difference(sample_of(right), sample_of(less))
    assert ends(found) == pytest.approx(tuple(paired.confidence_interval), abs=1.5 * tolerance)
    assert found.value == pytest.approx(right.mean() - less.mean())


def test_several_seeds_and_groups_agree_with_a_loop() -> None:
    random = np.random.default_rng(4)
    outcomes = coins((4, 60), 0.7, 5)
    outcomes[0] *= 0  # one seed that learned nothing
    clusters = random.integers(12, size=60)
    members = [np.flatnonzero(clusters == number) for number in range(12)]
    means = []
    for _ in range(REPLICATES):
        pictures = np.concatenate([members[number] for number in random.integers(12, size=12)])
        means.append(outcomes[random.integers(4, size=4)][:, pictures].mean())

    expected = np.quantile(means, [0.025, 0.975])
    assert ends(mean(sample_of(outcomes, clusters))) == pytest.approx(tuple(expected), abs=0.2 * np.std(means))


def test_a_row_does_not_differ_from_itself() -> None:
    rows = coins((3, 200), 0.6, 6)
    assert difference(sample_of(rows), sample_of(rows.copy())) == Estimate(0, 0, 0)


def test_pairing_cancels_what_both_share() -> None:
    """One prediction of 200 differs: however hard the pictures are, little is left to chance."""
    reference = coins((3, 200), 0.5, 7)
    other = reference.copy()
    other[:, 0] = 1 - other[:, 0]
    paired, alone = difference(sample_of(other), sample_of(reference)), mean(sample_of(reference))
    assert paired.high - paired.low <= 5 / 200 < 0.4 * (alone.high - alone.low)


def test_the_order_of_pictures_and_names_of_groups_do_not_matter() -> None:
    outcomes, clusters = coins((2, 90), 0.7, 8), np.repeat(np.arange(30), 3)
    shuffled = np.random.default_rng(9).permutation(90)
    # Groups keep their order, so the very same replicates are drawn.
    expected = mean(sample_of(outcomes, clusters))
    assert mean(sample_of(outcomes[:, shuffled], 7 * clusters[shuffled] - 5)) == expected


def test_copies_of_pictures_in_one_group_make_nothing_surer() -> None:
    right = coins((120,), 0.7, 10)
    once = mean(sample_of(right))
    assert mean(sample_of(np.repeat(right, 5), np.repeat(np.arange(120), 5))) == once
    independent = mean(sample_of(np.repeat(right, 5)))
    assert independent.high - independent.low < 0.6 * (once.high - once.low)


def test_a_difference_is_over_common_seeds() -> None:
    rows, reference = coins((3, 100), 0.7, 11), coins((3, 100), 0.6, 12)
    found = difference(sample_of(rows, first_seed=1), sample_of(reference))  # 1 2 3 and 0 1 2
    assert found == difference(sample_of(rows[:2], first_seed=1), sample_of(reference[1:], first_seed=1))
    assert found.value == pytest.approx(rows[:2].mean() - reference[1:].mean())


def test_without_common_seeds_these_are_drawn_apart() -> None:
    """Seeds that differ and pictures that do not: all spread is that of the seeds, of both rows."""
    rows = np.repeat([[0.0], [1.0]], 50, axis=1)
    paired = difference(sample_of(rows), sample_of(rows.copy()))
    apart = difference(sample_of(rows), sample_of(rows.copy(), first_seed=5))
    assert ends(paired) == (0, 0)
    assert ends(apart) == pytest.approx((-1, 1))


def test_a_part_is_the_sample_of_that_part() -> None:
    outcomes, clusters = coins((2, 40), 0.7, 13), np.repeat(np.arange(20), 2)
    chosen = np.arange(40) < 10
    part = sample_of(outcomes, clusters).of_pictures(chosen)
    assert mean(part) == mean(sample_of(outcomes[:, :10], np.repeat(np.arange(5), 2)))


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """400 test sets of 40 groups of four pictures that share their luck, by one seed: 95 %, within three errors."""
    random = np.random.default_rng(14)
    chances = random.beta(3, 1, size=(400, 40, 1))  # 3/4 on average
    outcomes = (random.random((400, 40, 4)) < chances).astype(float).reshape(400, 160)

    def coverage(clusters: np.ndarray) -> float:
        found = [mean(sample_of(each, clusters)) for each in outcomes]
        return float(np.mean([each.low <= 0.75 <= each.high for each in found]))

    assert coverage(np.repeat(np.arange(40), 4)) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 400) + 0.01)
    assert coverage(np.arange(160)) < 0.9, "as if the pictures of a group were independent"


@pytest.mark.parametrize(("share", "trials"), [(0.0, 4), (1.0, 4), (0.85, 100), (0.5, 1)])
def test_wilson_agrees_with_scipy(share: float, trials: int) -> None:
    expected = binomtest(round(share * trials), trials).proportion_ci(method="wilson")
    if share * trials == round(share * trials):
        assert wilson_interval(share * trials, trials) == pytest.approx((expected.low, expected.high))
    low, high = wilson_interval(share * trials, trials)
    assert 0 <= low <= share <= high <= 1


def test_nothing_is_known_without_trials() -> None:
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_equal_outcomes_are_not_certain_and_clusters_count_once(right: float) -> None:
    found = share_of_right(sample_of([right] * 8, [0, 0, 1, 1, 2, 2, 3, 3]))
    assert ends(found) == wilson_interval(right * 4, 4)
    assert found.high - found.low > 0.4


def test_unequal_outcomes_have_the_interval_of_the_bootstrap() -> None:
    rows = coins((2, 50), 0.7, 8)
    assert share_of_right(sample_of(rows)) == mean(sample_of(rows))
