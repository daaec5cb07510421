import numpy as np
import pytest

from fpcn_lightning.field.mapping.measure.corrected_areas import corrected_shares, independent_regions

RATES = np.array([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.05, 0.15, 0.8]])


def test_exact_rates_give_the_true_shares_back() -> None:
    truth = np.array([0.6, 0.1, 0.3])
    found = corrected_shares(truth @ RATES, 1e6 * RATES, regions=1e6)
    assert found is not None
    assert [share.value for share in found] == pytest.approx(truth, abs=1e-9)
    for share, true in zip(found, truth, strict=True):
        assert share.low == pytest.approx(true, abs=0.005)
        assert share.high == pytest.approx(true, abs=0.005)


def test_a_perfect_network_changes_nothing() -> None:
    counted = np.array([0.5, 0.5, 0.0])
    found = corrected_shares(counted, 50 * np.eye(3), regions=100)
    assert found is not None
    assert [share.value for share in found] == pytest.approx(counted)
    assert all(share.low <= share.value <= share.high for share in found)


def test_fewer_test_pictures_and_fewer_regions_widen_the_interval() -> None:
    counted = np.array([0.4, 0.4, 0.2])

    def width(pictures: float, regions: float) -> float:
        found = corrected_shares(counted, pictures * RATES, regions)
        assert found is not None
        return sum(share.high - share.low for share in found)

    assert width(1000, 1000) < width(30, 1000) < width(30, 10)


def test_without_test_pictures_of_a_class_there_is_no_correction() -> None:
    confusion = 20 * RATES
    confusion[1] = 0
    assert corrected_shares(np.array([0.4, 0.4, 0.2]), confusion, 10) is None


def test_nineteen_of_twenty_intervals_contain_the_true_share() -> None:
    """Mosaics of 60 tiles whose classes are known, rates measured on 40 pictures of each class."""
    generator, inside, asked = np.random.default_rng(0), 0, 0
    for mosaic in range(100):
        truth = generator.multinomial(60, generator.dirichlet(np.ones(3)))
        confusion = np.stack([generator.multinomial(40, row) for row in RATES]).astype(np.float64)
        predicted = np.sum([generator.multinomial(count, row) for count, row in zip(truth, RATES, strict=True)], axis=0)
        found = corrected_shares(predicted / 60, confusion, regions=60, seed=mosaic)
        assert found is not None
        hits = [share.low <= true / 60 <= share.high for share, true in zip(found, truth, strict=True)]
        inside, asked = inside + sum(hits), asked + len(hits)
    assert 0.9 <= inside / asked <= 1


def test_regions_of_one_size_are_counted_and_one_that_fills_the_section_is_one() -> None:
    assert independent_regions(np.full(7, 3.0)) == pytest.approx(7)
    assert independent_regions(np.array([1e6, 1.0])) == pytest.approx(1, abs=1e-3)
    assert independent_regions(np.zeros(0)) == 1
