import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier

from fpcn_lightning.data.images import to_eight_bits
from fpcn_lightning.data.synthetic.sections import CLASSES, GANGUE, SHARES, classes_at, draw, paint, section_of
from fpcn_lightning.errors import UserError

SIZE = 700


@pytest.fixture(scope="module")
def whole() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pixels, classes = paint(-100, 300, SIZE, SIZE, seed=4)
    return pixels.astype(np.uint8), classes


@given(corners=st.tuples(*[st.integers(0, SIZE - 1)] * 4))
@settings(max_examples=40, deadline=None)
def test_blocks_painted_apart_fit_together(
    whole: tuple[NDArray[np.uint8], NDArray[np.uint8]], corners: tuple[int, int, int, int]
) -> None:
    (top, bottom), (left, right) = sorted(corners[:2]), sorted(corners[2:])
    part = slice(top, bottom + 1), slice(left, right + 1)
    pixels, classes = paint(top - 100, left + 300, bottom + 1 - top, right + 1 - left, seed=4)
    np.testing.assert_array_equal(pixels, whole[0][part])
    np.testing.assert_array_equal(classes, whole[1][part])


def test_a_section_is_a_function_of_its_seed(whole: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    """Grains are equal to the last pixel on every machine; the rounding of colours may differ."""
    digest = hashlib.sha256(whole[1].tobytes()).hexdigest()
    assert digest[:16] == "c070b643469a2a55"
    assert not np.array_equal(paint(-100, 300, 64, 64, seed=5)[0], whole[0][:64, :64])


def test_classes_without_painting(whole: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    places = np.indices((SIZE, SIZE)).reshape(2, -1)[:, ::101]
    classes = classes_at(places + np.array([[-100], [300]]), seed=4)
    np.testing.assert_array_equal(classes, whole[1][places[0], places[1]])


def test_larger_grains_are_the_same_grains_enlarged() -> None:
    places = np.random.default_rng(0).uniform(0, 5_000, (2, 1_000))
    classes = [classes_at(scale * places, seed=1, scale_of_grains=scale) for scale in (1.0, 3.0)]
    assert np.mean(classes[0] == classes[1]) > 0.999


def test_classes_cover_their_shares() -> None:
    """Within the random error of 40,000 fields of a kilopixel, a third of which consist of small grains."""
    places = np.random.default_rng(0).integers(0, 200_000, (2, 40_000))
    found = np.bincount(classes_at(places, seed=0), minlength=len(CLASSES)) / 40_000
    np.testing.assert_allclose(found, [SHARES[name] for name in CLASSES], atol=0.012)
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("label", CLASSES)
def test_the_middle_of_a_picture_has_its_class(label: str) -> None:
    for number in range(4):
        picture, mask, surrounding = draw(label, number, size=96)
        assert picture.shape == (96, 96, 3)
        assert mask[48 - 3 : 48 + 4, 48 - 3 : 48 + 4].all()
        assert (surrounding == label) == mask.all()


def test_pictures_show_grains_cut_anywhere() -> None:
    masks = np.stack([draw("pyrite", number, size=96)[1] for number in range(60)])
    assert 0.2 < np.mean(~masks.all(axis=(1, 2))) < 0.9
    assert not masks[:, 48 - 12 : 48 + 12, 48 - 12 : 48 + 12].all()


def test_two_pictures_share_a_section() -> None:
    sections = [[section_of(label, number, seed=0) for number in range(200)] for label in CLASSES]
    assert all(row[::2] == row[1::2] for row in sections)
    assert len({section for row in sections for section in row[::2]}) == 100 * len(CLASSES)
    assert not np.array_equal(draw("gold", 0, size=48)[0], draw("gold", 1, size=48)[0])


def test_sixteen_bits_show_the_same_at_a_finer_resolution() -> None:
    eight, sixteen = (paint(0, 0, 64, 64, seed=1, bits=bits)[0] for bits in (8, 16))
    assert sixteen.dtype == np.uint16
    assert len(np.unique(sixteen)) > 4 * len(np.unique(eight))
    assert np.abs(to_eight_bits(sixteen).astype(int) - eight).max() <= 1


def test_brightness_is_not_enough() -> None:
    """Gangue is black; a classifier by the mean grey alone is wrong for one in four of the others."""
    minerals, numbers = [label for label in CLASSES if label != GANGUE], range(24)
    drawn = [draw(label, number, size=32)[:2] for label in minerals for number in numbers]
    grey = np.array([picture[mask].mean() for picture, mask in drawn])[:, None]
    tree = DecisionTreeClassifier(max_leaf_nodes=12, random_state=0)
    assert cross_val_score(tree, grey, np.repeat(minerals, len(numbers)), cv=5).mean() < 0.75


def test_unknown_label_or_number_is_refused() -> None:
    with pytest.raises(UserError, match=r"label=galena.*gangue"):
        draw("galena", 0)
    with pytest.raises(UserError, match="number=-1"):
        draw("gold", -1)
