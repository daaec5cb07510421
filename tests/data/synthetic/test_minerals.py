"""Minerals are a function of their key, and neither colour nor texture alone identifies them."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fpcn_lightning.data.images import to_eight_bits
from fpcn_lightning.data.synthetic.minerals import CLASSES, GANGUES, draw
from fpcn_lightning.errors import UserError

PICTURES = 50  # of a class
Drawn = list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    pairs = [draw(label, number, size=96) for label in CLASSES for number in range(PICTURES)]
    return [(picture.astype(np.uint8), mask) for picture, mask, _ in pairs]


LABELS = np.repeat(CLASSES, PICTURES)


def test_a_picture_is_a_function_of_its_key() -> None:
    first, again, other = (draw("stibnite", number, size=64, seed=5) for number in (3, 3, 4))
    assert first[0].shape == (64, 64, 3)
    assert first[0].dtype == np.uint8
    assert first[1].shape == (64, 64)
    assert first[1].dtype == np.bool_
    assert first[2] in GANGUES
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], draw("stibnite", 3, size=64, seed=6)[0])


@pytest.mark.parametrize("label", CLASSES)
def test_sixteen_bits_show_the_same_at_a_finer_resolution(label: str) -> None:
    """And `to_eight_bits`, which must guess the range of the samples, guesses it right."""
    eight, sixteen = (draw(label, 1, size=64, bits=bits)[0] for bits in (8, 16))
    assert sixteen.dtype == np.uint16
    assert len(np.unique(sixteen)) > 4 * len(np.unique(eight))
    assert np.abs(to_eight_bits(sixteen).astype(int) - eight).max() <= 1


def test_two_views_of_a_specimen_have_the_same_gangue() -> None:
    gangues = [draw("gold", number, size=32)[2] for number in range(24)]
    assert gangues[::2] == gangues[1::2]
    assert set(gangues) == set(GANGUES)


def test_unknown_label_or_number_is_refused() -> None:
    with pytest.raises(UserError, match=r"label=galena.*stibnite"):
        draw("galena", 0)
    with pytest.raises(UserError, match="number=-1"):
        draw("gold", -1)


@pytest.mark.slow
def test_the_mineral_is_bright(drawn: Drawn) -> None:
    """In every image there is enough of it, brighter than the ground, and the area does not depend on the class."""
    shares = np.array([mask.mean() for _, mask in drawn])
    assert shares.min() > 0.08
    assert shares.max() < 0.65
    means = shares.reshape(len(CLASSES), PICTURES).mean(1)
    assert means.max() - means.min() < 0.1
    for picture, mask in drawn:
        assert np.median(picture[mask]) > np.median(picture[~mask])


def spread_between_grains(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """The relative spread of the brightness of patches of the mineral; pits and scratches are smoothed away."""
    inside = ndimage.binary_erosion(mask, iterations=4)
    smooth = ndimage.median_filter(picture.mean(axis=2), 7)[inside]
    return float(smooth.std() / smooth.mean()) if inside.sum() > 50 else float("nan")


@pytest.mark.slow
def test_stibnite_has_the_strongest_bireflectance(drawn: Drawn) -> None:
    spreads = np.array([spread_between_grains(*pair) for pair in drawn]).reshape(len(CLASSES), PICTURES)
    usual = dict(zip(CLASSES, np.nanmedian(spreads, axis=1), strict=True))
    assert usual.pop("stibnite") > 1.4 * max(usual.values())


def accuracy(features: NDArray[np.float64], classifier: object) -> float:
    """Cross-validated without shuffling: the two views of a specimen are consecutive and in one fold."""
    return float(cross_val_score(make_pipeline(StandardScaler(), classifier), features, LABELS, cv=5).mean())


def colours(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A histogram with eight steps of each of red, green and blue."""
    red, green, blue = (picture // 32).reshape(-1, 3).astype(int).T
    return np.bincount(64 * red + 8 * green + blue, minlength=512) / red.size


def texture(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Roughness of the mineral and of its outline at several scales; neither brightness nor tint matters."""
    grey = picture.mean(axis=2)
    grey = grey / grey[mask].mean()
    statistics = []
    for scale in (0.7, 1.4, 2.8):
        detail = (grey - ndimage.gaussian_filter(grey, scale))[ndimage.binary_erosion(mask, iterations=2)]
        statistics += [detail.std(), np.mean(detail**3), np.quantile(detail, 0.02)] if detail.size else [0, 0, 0]
        smooth = ndimage.gaussian_filter(mask.astype(float), 2 * scale)
        statistics += [np.abs((smooth > 0.5).astype(float) - mask).mean(), smooth.std()]
    return np.array(statistics)


@pytest.mark.slow
def test_neither_colour_nor_texture_is_enough(drawn: Drawn) -> None:
    chance = 1 / len(CLASSES)
    error = np.sqrt(chance * (1 - chance) / len(LABELS))
    histograms = np.stack([colours(picture) for picture, _ in drawn])
    textures = np.stack([texture(*pair) for pair in drawn])
    forest = RandomForestClassifier(100, random_state=0)
    for classifier in (LogisticRegression(max_iter=500), forest):
        assert chance + 6 * error < accuracy(histograms, classifier) < 0.85
    assert chance + 6 * error < accuracy(textures, forest) < 0.85
