import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.class_map import NO_DATA, class_map
from tests.field.mapping.drawn import DrawnSurface


def test_the_likeliest_class_and_how_likely_it_is() -> None:
    probabilities = np.random.default_rng(0).dirichlet((1, 1, 1), (23, 17))
    probabilities[4:9, 3:12] = np.nan
    scores = np.random.default_rng(1).normal(size=(23, 17))
    found = class_map(DrawnSurface(probabilities, scores, cell=3, height=68, width=50), window=6)
    known = ~np.isnan(probabilities[..., 0])
    assert (found.codes[known] == probabilities.argmax(-1)[known]).all()
    assert (found.confidence[known] == np.rint(100 * probabilities.max(-1))[known]).all()
    assert (found.codes[~known] == NO_DATA).all()
    assert (found.confidence[~known] == NO_DATA).all()
    assert (found.unfamiliar == (scores < 0) & known).all()
    pixels = probabilities.repeat(3, 0).repeat(3, 1)[:68, :50]
    assert [share.expected for share in found.shares] == pytest.approx(np.nanmean(pixels, (0, 1)), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_95_percent_of_intervals_hold_the_truth(seed: int) -> None:
    """The truth is drawn from calibrated answers; a window is right or wrong as a whole, and some show no data."""
    chance = np.random.default_rng(seed)
    windows = chance.dirichlet((0.3, 0.3, 0.3), (12, 10))
    windows[2:4, 5] = np.nan
    (share, *_) = class_map(DrawnSurface(windows.repeat(5, 0).repeat(5, 1), cell=4), window=20).shares
    known = windows[..., 0][~np.isnan(windows[..., 0])]
    truths = (chance.random((4000, len(known))) < known).mean(1)
    held = np.abs(truths - share.expected) < 1.96 * share.deviation
    assert held.mean() == pytest.approx(0.95, abs=0.015)


def test_larger_windows_make_areas_less_sure() -> None:
    probabilities = np.broadcast_to(np.array([0.7, 0.3]), (64, 64, 2))
    deviations = [class_map(DrawnSurface(probabilities), window).shares[0].deviation for window in (1, 4, 16)]
    assert deviations == pytest.approx([np.sqrt(0.7 * 0.3) * side / 64 for side in (1, 4, 16)], rel=1e-5)


def test_a_section_without_data() -> None:
    found = class_map(DrawnSurface(np.full((5, 6, 2), np.nan)), window=3)
    assert (found.codes == NO_DATA).all()
    assert [tuple(share) for share in found.shares] == [(0, 0), (0, 0)]


def test_a_byte_tells_255_classes_apart() -> None:
    assert class_map(DrawnSurface(np.eye(255)[None]), window=1).codes[0].tolist() == list(range(255))
    with pytest.raises(UserError, match="at most 255 classes"):
        class_map(DrawnSurface(np.ones((1, 1, 256))), window=1)
