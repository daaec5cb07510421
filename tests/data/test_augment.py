"""Views depend on (seed, epoch, image) alone, cover the image evenly, and are cut as torchvision would cut them."""

import itertools
import math
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from torchvision.transforms import functional as reference

from fpcn_lightning.data import augment
from fpcn_lightning.data.augment import Squashing, View
from fpcn_lightning.errors import UserError

SQUARE = (512, 512)
PUBLISHED = Squashing(resize=512, crop=448)


@settings(max_examples=50, deadline=None)
@given(keys=st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 500), st.integers(0, 10**6)), max_size=8))
def test_a_view_depends_on_its_key_alone(keys: list[tuple[int, int, int]]) -> None:
    """Not on the order of draws, nor on repeats, nor on the object that draws."""
    first = {key: PUBLISHED.draw(SQUARE, *key) for key in keys}
    other = Squashing(resize=512, crop=448)
    assert [other.draw(SQUARE, *key) for key in reversed(keys)] == [first[key] for key in reversed(keys)]


def test_every_part_of_the_key_matters() -> None:
    """With 65 x 65 corners, each mirrored or not, two of these sequences are equal by chance in one of 10^78 cases."""
    keys = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2)]
    sequences = [tuple(PUBLISHED.draw(SQUARE, seed, epoch, image)[:4] for image in range(20)) for seed, epoch in keys]
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
def test_the_probability_of_a_mirrored_view(probability: float) -> None:
    augmentation = Squashing(resize=12, crop=10, horizontal_flip=probability)
    flips = [augmentation.draw((12, 12), 0, epoch, image).flipped for epoch in range(20) for image in range(100)]
    deviation = math.sqrt(probability * (1 - probability) / len(flips))
    assert abs(np.mean(flips) - probability) <= 4 * deviation
    assert all(type(flip) is bool for flip in flips)


def test_without_random_crop_only_the_flip_is_random() -> None:
    still = Squashing(resize=512, crop=448, random_crop=False)
    for image in range(40):
        drawn = PUBLISHED.draw(SQUARE, 0, 1, image)
        assert still.draw(SQUARE, 0, 1, image) == drawn._replace(top=32, left=32)


def test_crop_as_large_as_the_picture() -> None:
    whole = Squashing(resize=10, crop=10)
    assert {whole.draw((10, 10), 0, 0, image)[:2] for image in range(30)} == {(0, 0)}
    assert whole.centre((10, 10), 10) == View(0, 0, False, 10)


@pytest.mark.parametrize(("resize", "crop"), [(512, 448), (256, 224), (16, 16), (9, 7), (2, 1), (11, 8)])
def test_the_centre(resize: int, crop: int) -> None:
    """As torchvision's, or one pixel from it where the margins cannot be equal (it rounds halves to even)."""
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
    assert Squashing(resize=14, crop=10).evaluation_size == 10
    with pytest.raises(UserError, match=r"data\.evaluation_crop=15 .*data\.resize=14"):
        Squashing(resize=14, crop=10, evaluation_crop=15)


def test_drawn_views_are_inside() -> None:
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


def picture_of(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (14, 14, 3), np.uint8)


@pytest.fixture
def factors(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The factors of brightness and contrast, as they are used."""
    used: list[float] = []
    blended = augment._blended

    def recorded(pixels: NDArray[np.uint8], other: float, weight: float) -> NDArray[np.uint8]:
        used.append(weight)
        return blended(pixels, other, weight)

    monkeypatch.setattr(augment, "_blended", recorded)
    return used


def test_brightness_and_contrast_change_as_torchvision_changes_them(factors: list[float]) -> None:
    """Equal but for the last bit, which depends on the order of two multiplications."""
    picture = picture_of(2)
    for image in range(50):
        view = SHAKEN.draw((14, 14), 0, 0, image)
        seen = SHAKEN.seen(picture, view)
        brightness, contrast = factors[-2:]
        part = torch.from_numpy(SHAKEN.cut(picture, view).copy()).permute(2, 0, 1)
        expected = reference.adjust_contrast(reference.adjust_brightness(part, brightness), contrast)
        difference = seen.astype(int) - expected.permute(1, 2, 0).numpy()
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 0.02


def test_factors_are_drawn_evenly_from_their_range(factors: list[float]) -> None:
    picture = picture_of(2)
    for epoch, image in itertools.product(range(20), range(50)):
        SHAKEN.seen(picture, SHAKEN.draw((14, 14), 0, epoch, image))
    pairs = np.array(factors).reshape(-1, 2)
    assert len(pairs) == 1000
    for drawn, reach in zip(pairs.T, (0.4, 0.7), strict=True):
        assert stats.kstest(drawn, stats.uniform(1 - reach, 2 * reach).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(pairs, rowvar=False)[0, 1]) < 4 / math.sqrt(len(pairs))


def test_without_them_the_pixels_are_those_of_the_picture_and_views_stay_the_same(factors: list[float]) -> None:
    picture = picture_of(3)
    plain = Squashing(resize=14, crop=10)
    for image in range(20):
        view = plain.draw((14, 14), 0, 0, image)
        assert view == SHAKEN.draw((14, 14), 0, 0, image)
        assert np.shares_memory(plain.seen(picture, view), picture)
        np.testing.assert_array_equal(plain.seen(picture, view), plain.cut(picture, view))
    assert not factors


def test_views_of_evaluation_are_not_augmented(factors: list[float]) -> None:
    picture = picture_of(3)
    (view,) = SHAKEN.evaluation_views((14, 14))
    np.testing.assert_array_equal(SHAKEN.seen(picture, view), SHAKEN.cut(picture, view))
    assert not factors


def test_views_and_factors_are_those_of_earlier_versions(factors: list[float]) -> None:
    """A run that an earlier version began is resumed with the same images."""
    assert [PUBLISHED.draw(SQUARE, 0, 1, image)[:3] for image in (0, 1, 2**63)] == [
        (63, 44, True),
        (8, 62, False),
        (61, 4, False),
    ]
    SHAKEN.seen(picture_of(0), SHAKEN.draw((14, 14), 5, 2, 7))
    assert factors == [0.652531149685768, 0.8874882842232389]


@pytest.mark.parametrize("key", ["brightness", "contrast"])
@pytest.mark.parametrize("reach", [-0.1, 1.1, float("nan")])
def test_impossible_factors(key: str, reach: float) -> None:
    with pytest.raises(UserError, match=rf"data\.{key}={reach}"):
        Squashing(resize=12, crop=10, **{key: reach})  # type: ignore[arg-type]


# --- further augmentations ----------------------------------------------------------------------------------------


def with_a_mark(pixels: NDArray[np.uint8], random: np.random.Generator, *, row: int) -> NDArray[np.uint8]:
    """A row of random pixels, written in place."""
    pixels[row] = random.integers(0, 256, pixels[row].shape)
    return pixels


def test_further_augmentations_draw_after_ours_and_in_their_order() -> None:
    picture = picture_of(4)
    unchanged = picture.copy()
    marks = (partial(with_a_mark, row=2), partial(with_a_mark, row=5))
    both = Squashing(resize=14, crop=10, brightness=0.4, contrast=0.7, further=marks)
    one = Squashing(resize=14, crop=10, brightness=0.4, contrast=0.7, further=marks[:1])
    for image in range(20):
        view = both.draw((14, 14), 0, 0, image)
        assert view == SHAKEN.draw((14, 14), 0, 0, image)
        changed = both.seen(picture, view)
        np.testing.assert_array_equal(np.delete(changed, (2, 5), 0), np.delete(SHAKEN.seen(picture, view), (2, 5), 0))
        np.testing.assert_array_equal(changed[2], one.seen(picture, view)[2])
        np.testing.assert_array_equal(changed, both.seen(picture, view))
        random = np.random.default_rng([1, 0, 0, image])
        for _ in range(2):
            random.integers(0, 5)
        for _ in range(3):
            random.random()
        np.testing.assert_array_equal(changed[2], random.integers(0, 256, (10, 3)))
        np.testing.assert_array_equal(changed[5], random.integers(0, 256, (10, 3)))
    np.testing.assert_array_equal(picture, unchanged)


def test_a_further_augmentation_gets_pixels_that_torch_takes() -> None:
    """A mirrored view has negative strides, which torch refuses."""

    def by_torch(pixels: NDArray[np.uint8], _: np.random.Generator) -> NDArray[np.uint8]:
        inverted: NDArray[np.uint8] = (255 - torch.from_numpy(pixels)).numpy()
        return inverted

    mirrored = Squashing(resize=14, crop=10, horizontal_flip=1.0, further=(by_torch,))
    view = mirrored.draw((14, 14), 0, 0, 0)
    np.testing.assert_array_equal(mirrored.seen(picture_of(5), view), 255 - mirrored.cut(picture_of(5), view))


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (np.zeros((10, 10, 3)), r"float64 \[10, 10, 3\]"),
        (np.zeros((9, 10, 3), np.uint8), r"uint8 \[9, 10, 3\]"),
        (None, "NoneType"),
    ],
)
def test_a_further_augmentation_that_returns_something_else_is_named(returned: Any, what: str) -> None:
    def wrong(_: NDArray[np.uint8], __: np.random.Generator) -> Any:
        return returned

    wrong_augmentation = Squashing(resize=14, crop=10, further=(wrong,))
    with pytest.raises(UserError, match=rf"data\.augmentations: .*wrong returns {what}: .*uint8 \[10, 10, 3\]"):
        wrong_augmentation.seen(picture_of(6), wrong_augmentation.draw((14, 14), 0, 0, 0))


VARIED = Squashing(resize=64, crop=32, crop_scale=(0.5, 2.0), quarter_turns=True, saturation=0.5)


def test_options_that_are_off_change_no_view() -> None:
    """Neither the corner nor the colours of a training with the papers' recipe depend on the options added since."""
    old = Squashing(resize=64, crop=32, brightness=0.3, contrast=0.3)
    random = np.random.default_rng([augment.VIEW_STREAM, 5, 2, 7])
    top, left, flipped = int(random.integers(0, 33)), int(random.integers(0, 33)), bool(random.random() < 0.5)
    view = old.draw((64, 64), 5, 2, 7)
    assert view[:4] == (top, left, flipped, 32)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected = augment.change_brightness(old.cut(picture, view), random, reach=0.3)
    np.testing.assert_array_equal(old.seen(picture, view), augment.change_contrast(expected, random, reach=0.3))


def test_crop_scale_is_log_uniform_and_inside_the_image() -> None:
    large = Squashing(resize=2048, crop=1024, crop_scale=(0.5, 2.0))
    views = [large.draw((2048, 2048), 0, epoch, image) for epoch in range(30) for image in range(30)]
    sides = np.array([view.side for view in views])
    assert stats.kstest(np.log(sides / 512) / np.log(4), "uniform").pvalue > 1e-4
    assert all(0 <= view.top <= 2048 - view.side and 0 <= view.left <= 2048 - view.side for view in views)
    assert {
        Squashing(resize=40, crop=32, crop_scale=(2, 3)).draw((40, 40), 0, 0, image).side for image in range(9)
    } == {40}


def test_a_scaled_view_is_resized_as_torchvision_resizes() -> None:
    scaled = Squashing(resize=64, crop=32, crop_scale=(0.5, 2.0), horizontal_flip=1.0)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for image in range(6):
        view = scaled.draw((64, 64), 0, 0, image)
        part = torch.from_numpy(scaled.cut(picture, view).copy()).permute(2, 0, 1)
        expected = reference.resize(part, [32, 32], antialias=True).permute(1, 2, 0).numpy().astype(int)
        assert np.abs(scaled.seen(picture, view).astype(int) - expected).max() <= 1


def test_all_quarter_turns_are_equally_likely() -> None:
    turns = Counter(VARIED.draw((64, 64), 1, epoch, image).turns for epoch in range(40) for image in range(40))
    assert sorted(turns) == [0, 1, 2, 3]
    assert stats.chisquare(list(turns.values())).pvalue > 1e-4
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    turned = VARIED.cut(picture, View(0, 0, False, 32, None, 1))
    expected = reference.rotate(torch.from_numpy(picture).permute(2, 0, 1), 90).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(turned, expected)


def test_saturation_keeps_the_grey_of_each_pixel() -> None:
    pixels = np.random.default_rng(0).integers(90, 160, (16, 16, 3), np.uint8)
    changed = augment.change_saturation(pixels, np.random.default_rng(1), reach=0.5)
    assert not np.array_equal(changed, pixels)
    np.testing.assert_allclose(changed @ augment.LUMINANCE, pixels @ augment.LUMINANCE, atol=1.5)
    grey = np.full((4, 4, 3), 100, np.uint8)
    np.testing.assert_allclose(augment.change_saturation(grey, np.random.default_rng(1), reach=0.9), grey, atol=1)


def test_mirrored_views_follow_the_views_that_they_mirror() -> None:
    both = Squashing(resize=14, crop=10, mirrored_views=True)
    assert both.evaluation_views((14, 14)) == (View(2, 2, False, 10), View(2, 2, True, 10))
    assert {view.side for view in (both.draw((14, 14), 0, 0, image) for image in range(9))} == {10}


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.2, 0.8), (1.0, math.inf), (math.nan, 1.0)])
def test_an_invalid_crop_scale_is_named(scale: tuple[float, float]) -> None:
    with pytest.raises(UserError, match=r"data\.crop_scale="):
        Squashing(resize=14, crop=10, crop_scale=scale)


@pytest.mark.parametrize("mirrored", [False, True])
def test_brightness_and_contrast_are_looked_up_in_a_table_of_what_each_value_becomes(mirrored: bool) -> None:
    pixels = np.arange(256 * 3, dtype=np.uint16).astype(np.uint8).reshape(16, 16, 3)
    pixels = pixels[:, ::-1] if mirrored else pixels
    random = np.random.default_rng(0)
    for _ in range(300):
        grey, weight = float(random.uniform(0, 255)), float(random.uniform(0, 2))
        changed = augment._blended(pixels, grey, weight)
        blend = weight * pixels.astype(np.float32) + (1 - weight) * grey
        np.testing.assert_array_equal(changed, np.clip(blend, 0, 255).astype(np.uint8))
        assert changed.flags.writeable, "a function of the config may change it in place"
