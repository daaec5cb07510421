"""Views depend on (seed, epoch, image) alone, cover the picture evenly, and are cut as torchvision would cut them."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import functional as reference

from fpcn_lightning.data.augment import Squashing, View
from fpcn_lightning.errors import UserError

SQUARE = (512, 512)
PUBLISHED = Squashing(resize=512, crop=448)


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 500), st.integers(0, 10**6)), max_size=8))
def test_a_view_depends_on_its_key_alone(keys: list[tuple[int, int, int]]) -> None:
    """Neither the order of draws, nor repeats, nor the object that draws enter."""
    first = {key: PUBLISHED.draw(SQUARE, *key) for key in keys}
    other = Squashing(resize=512, crop=448)
    assert [other.draw(SQUARE, *key) for key in reversed(keys)] == [first[key] for key in reversed(keys)]


def test_every_part_of_the_key_matters() -> None:
    """With 65 x 65 corners, each mirrored or not, two of these sequences are equal by chance in one of 10^78 cases."""
    keys = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2)]
    sequences = [tuple(PUBLISHED.draw(SQUARE, seed, epoch, image) for image in range(20)) for seed, epoch in keys]
    for one, other in itertools.combinations(sequences, 2):
        assert sum(a == b for a, b in zip(one, other, strict=True)) <= 2
    assert len(set(sequences[0])) >= 19


def test_neighbouring_keys_are_unrelated() -> None:
    """The corners of the same image in the next epoch, of the next image, and of top and left do not correlate."""
    corners = np.array([[PUBLISHED.draw(SQUARE, 0, epoch, image)[:2] for image in range(60)] for epoch in range(60)])
    tops, lefts = corners[..., 0], corners[..., 1]
    for one, other in ((tops, lefts), (tops[1:], tops[:-1]), (tops[:, 1:], tops[:, :-1]), (tops[1:], lefts[:-1])):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / math.sqrt(one.size)


def test_all_corners_are_equally_likely() -> None:
    augmentation = Squashing(resize=14, crop=10)
    drawn = Counter(augmentation.draw((14, 14), 3, epoch, image)[:2] for epoch in range(50) for image in range(80))
    assert set(drawn) == set(itertools.product(range(5), repeat=2))
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-4


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_mirrored_as_often_as_asked(probability: float) -> None:
    augmentation = Squashing(resize=12, crop=10, horizontal_flip=probability)
    flips = [augmentation.draw((12, 12), 0, epoch, image).flipped for epoch in range(20) for image in range(100)]
    deviation = math.sqrt(probability * (1 - probability) / len(flips))
    assert abs(np.mean(flips) - probability) <= 4 * deviation
    assert all(type(flip) is bool for flip in flips)


def test_without_random_crop_only_the_mirror_is_drawn() -> None:
    still = Squashing(resize=512, crop=448, random_crop=False)
    for image in range(40):
        assert still.draw(SQUARE, 0, 1, image) == View(32, 32, PUBLISHED.draw(SQUARE, 0, 1, image).flipped, 448)


def test_crop_as_large_as_the_picture() -> None:
    whole = Squashing(resize=10, crop=10)
    assert {whole.draw((10, 10), 0, 0, image)[:2] for image in range(30)} == {(0, 0)}
    assert whole.centre((10, 10), 10) == View(0, 0, False, 10)


@pytest.mark.parametrize(("resize", "crop"), [(512, 448), (256, 224), (16, 16), (9, 7), (2, 1), (11, 8)])
def test_the_centre(resize: int, crop: int) -> None:
    """As torchvision; where the margins cannot be equal (it rounds halves to even) at most one pixel beside it."""
    augmentation = Squashing(resize=resize, crop=crop)
    view = augmentation.centre((resize, resize), crop)
    assert view.top == view.left
    assert not view.flipped
    after = resize - crop - view.top
    assert 0 <= after - view.top <= 1
    if (resize - crop) % 2 == 0:
        picture = np.random.default_rng(0).integers(0, 256, (resize, resize, 3), np.uint8)
        expected = reference.center_crop(torch.from_numpy(picture).permute(2, 0, 1), [crop, crop])
        np.testing.assert_array_equal(augmentation.cut(picture, view), expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "view", [View(0, 0, False, 10), View(3, 1, True, 10), View(1, 4, False, 10), View(4, 4, True, 10)]
)
def test_cut_as_torchvision_cuts(view: View) -> None:
    augmentation = Squashing(resize=14, crop=10)
    picture = np.random.default_rng(1).integers(0, 256, (14, 14, 3), np.uint8)
    expected = reference.crop(torch.from_numpy(picture).permute(2, 0, 1), view.top, view.left, 10, 10)
    if view.flipped:
        expected = reference.hflip(expected)
    part = augmentation.cut(picture, view)
    np.testing.assert_array_equal(part, expected.permute(1, 2, 0).numpy())
    assert np.shares_memory(part, picture)


def test_evaluation_may_see_more_than_training() -> None:
    larger = Squashing(resize=14, crop=10, evaluation_crop=12)
    assert larger.evaluation_views((14, 14)) == (View(1, 1, False, 12),)
    assert {larger.draw((14, 14), 0, epoch, 0).side for epoch in range(5)} == {10}
    assert Squashing(resize=14, crop=10).evaluation_side == 10
    with pytest.raises(UserError, match=r"data\.evaluation_crop=15 .*data\.resize=14"):
        Squashing(resize=14, crop=10, evaluation_crop=15)


def test_drawn_views_lie_inside() -> None:
    picture = np.zeros((14, 14, 3), np.uint8)
    augmentation = Squashing(resize=14, crop=10)
    assert {augmentation.cut(picture, augmentation.draw((14, 14), 0, 0, image)).shape for image in range(200)} == {
        (10, 10, 3)
    }


@pytest.mark.parametrize(("resize", "crop"), [(10, 11), (10, 0), (10, -1), (0, 0)])
def test_impossible_crops(resize: int, crop: int) -> None:
    with pytest.raises(UserError, match=rf"data\.crop={crop} .*data\.resize={resize}"):
        Squashing(resize=resize, crop=crop)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_impossible_probabilities(probability: float) -> None:
    with pytest.raises(UserError, match=r"data\.horizontal_flip"):
        Squashing(resize=12, crop=10, horizontal_flip=probability)


# --- brightness and contrast --------------------------------------------------------------------------------------

SHAKEN = Squashing(resize=14, crop=10, brightness=0.4, contrast=0.7)


def test_brightness_and_contrast_change_as_torchvision_changes_them() -> None:
    """Equal but for the last bit, which hangs on the order of two multiplications."""
    picture = np.random.default_rng(2).integers(0, 256, (14, 14, 3), np.uint8)
    for image in range(50):
        view = SHAKEN.draw((14, 14), 0, 0, image)
        part = torch.from_numpy(SHAKEN.cut(picture, view).copy()).permute(2, 0, 1)
        expected = reference.adjust_contrast(reference.adjust_brightness(part, view.brightness), view.contrast)
        difference = SHAKEN.seen(picture, view).astype(int) - expected.permute(1, 2, 0).numpy()
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 0.02


def test_factors_are_drawn_evenly_from_their_range() -> None:
    views = [SHAKEN.draw((14, 14), 0, epoch, image) for epoch in range(20) for image in range(50)]
    for factors, reach in (([view.brightness for view in views], 0.4), ([view.contrast for view in views], 0.7)):
        assert stats.kstest(factors, stats.uniform(1 - reach, 2 * reach).cdf).pvalue > 1e-4
    assert abs(np.corrcoef([view[4:] for view in views], rowvar=False)[0, 1]) < 4 / math.sqrt(len(views))


def test_without_them_the_pixels_are_the_picture_s_own_and_views_are_as_ever() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (14, 14, 3), np.uint8)
    plain = Squashing(resize=14, crop=10)
    for image in range(20):
        view = plain.draw((14, 14), 0, 0, image)
        assert view[4:] == (1.0, 1.0)
        assert view[:4] == SHAKEN.draw((14, 14), 0, 0, image)[:4]
        assert np.shares_memory(plain.seen(picture, view), picture)
        np.testing.assert_array_equal(plain.seen(picture, view), plain.cut(picture, view))


def test_views_are_those_that_were_always_drawn() -> None:
    """Numbers of an earlier version: a run that it left half done goes on with the same pictures."""
    assert [PUBLISHED.draw(SQUARE, 0, 1, image)[:3] for image in (0, 1, 2**63)] == [
        (63, 44, True),
        (8, 62, False),
        (61, 4, False),
    ]


@pytest.mark.parametrize("key", ["brightness", "contrast"])
@pytest.mark.parametrize("reach", [-0.1, 1.1, float("nan")])
def test_impossible_factors(key: str, reach: float) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}={reach}"):
        Squashing(resize=12, crop=10, **{key: reach})  # type: ignore[arg-type]
