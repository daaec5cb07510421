import numpy as np
import pytest
from numpy.typing import NDArray

from fpcn_lightning.explain.perturbation import Change, PerturbationCurve, change, deletion, insertion, painted_over

SIZE = 20
OBJECT = np.zeros((SIZE, SIZE), np.bool_)
OBJECT[5:15, 10:20] = True  # a quarter of the picture
RED, BLUE = np.array([200, 0, 0], np.uint8), np.array([0, 0, 200], np.uint8)
ROCK = np.where(OBJECT[..., None], RED, BLUE)
WAVES = np.broadcast_to(np.uint8(255) * (np.indices((SIZE, SIZE)).sum(0) % 2).astype(np.uint8)[..., None], ROCK.shape)
EVERYWHERE = np.ones((SIZE, SIZE), np.float32)


def share_of_red(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Class 1 is as probable as there are unchanged pixels of the object."""
    red = (pictures == RED).all(3)
    share = red[:, OBJECT].mean(axis=1)
    return np.stack([1 - share, share], axis=1).astype(np.float32)


def test_deletion_of_the_object_first_is_a_known_curve() -> None:
    curve = deletion(share_of_red, ROCK, OBJECT.astype(np.float32), 1, steps=20)
    np.testing.assert_allclose(curve.shares, np.linspace(0, 1, 21))
    np.testing.assert_allclose(curve.probabilities, np.clip(1 - curve.shares / 0.25, 0, 1), atol=1e-6)
    assert curve.area == pytest.approx(0.25 / 2)


def test_deletion_of_the_object_last_is_its_opposite() -> None:
    curve = deletion(share_of_red, ROCK, 1 - OBJECT.astype(np.float32), 1, steps=20)
    assert curve.area == pytest.approx(1 - 0.25 / 2)


def test_insertion_of_the_object_first_is_a_known_curve() -> None:
    def like_the_original(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        share = (pictures == WAVES).all(3)[:, OBJECT].mean(axis=1)
        return np.stack([1 - share, share], axis=1).astype(np.float32)

    curve = insertion(like_the_original, WAVES, OBJECT.astype(np.float32), 1, steps=20)
    np.testing.assert_allclose(curve.probabilities, np.clip(curve.shares / 0.25, 0, 1), atol=1e-6)
    assert curve.area == pytest.approx(1 - 0.25 / 2)


def test_insertion_begins_without_detail() -> None:
    def detail(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        steps: NDArray[np.float32] = np.abs(np.diff(pictures.astype(np.float32), axis=1)).mean((1, 2, 3)) / 255
        return steps[:, None]

    curve = insertion(detail, WAVES, EVERYWHERE, 0)
    assert curve.probabilities[0] < 0.2
    assert curve.probabilities[-1] == 1


def test_flat_heat_is_a_random_order() -> None:
    """The object is deleted as fast as the rest, also if it is at the top."""
    top = np.zeros((64, 64), np.bool_)
    top[:16] = True
    picture = np.where(top[..., None], RED, BLUE)

    def share(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        left: NDArray[np.float32] = (pictures == picture).all(3)[:, top].mean(axis=1).astype(np.float32)
        return left[:, None]

    curve = deletion(share, picture, np.full((64, 64), 0.3, np.float32), 0)
    np.testing.assert_allclose(curve.probabilities, 1 - curve.shares, atol=0.06)
    assert curve.area == pytest.approx(0.5, abs=0.02)


def test_area_is_that_of_trapezia() -> None:
    curve = PerturbationCurve(np.array([0, 0.5, 1]), np.array([1, 0.5, 0.25], np.float32))
    assert curve.area == (1 + 0.5) / 4 + (0.5 + 0.25) / 4


def test_pictures_are_whole_at_one_end_and_gone_at_the_other() -> None:
    seen: list[NDArray[np.uint8]] = []

    def keep(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(pictures)
        return np.zeros((len(pictures), 2), np.float32)

    deletion(keep, ROCK, EVERYWHERE, 0, steps=7)
    insertion(keep, ROCK, EVERYWHERE, 0, steps=7)
    deleted, inserted = seen
    assert deleted.shape == inserted.shape == (8, SIZE, SIZE, 3)
    assert deleted.dtype == inserted.dtype == np.uint8
    np.testing.assert_array_equal(deleted[0], ROCK)
    np.testing.assert_array_equal(inserted[-1], ROCK)
    assert (deleted[-1] == (50, 0, 150)).all()  # a quarter red, three quarters blue


def test_a_region_is_painted_in_the_colour_of_the_rest() -> None:
    before = ROCK.copy()
    np.testing.assert_array_equal(painted_over(ROCK, OBJECT), np.broadcast_to(BLUE, ROCK.shape))
    np.testing.assert_array_equal(painted_over(ROCK, ~OBJECT), np.broadcast_to(RED, ROCK.shape))
    np.testing.assert_array_equal(painted_over(ROCK, np.zeros_like(OBJECT)), ROCK)
    assert (painted_over(ROCK, np.ones_like(OBJECT)) == 67).all()  # 200 in one channel of three
    np.testing.assert_array_equal(ROCK, before)


def test_the_change_of_a_prediction() -> None:
    predictions = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], np.float32)
    changed = change(lambda _: predictions, ROCK, ROCK, 1)
    assert not changed.same_class
    assert changed.drop == pytest.approx(0.4)
    assert changed.distance == pytest.approx(0.4)
    assert change(lambda _: predictions[[0, 0]], ROCK, ROCK, 1) == Change(True, 0.0, 0.0)
    assert change(lambda _: predictions[[1, 0]], ROCK, ROCK, 1).drop == pytest.approx(-0.4)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="as high and wide"):
        deletion(share_of_red, ROCK, EVERYWHERE[1:], 1)
    with pytest.raises(ValueError, match="as high and wide"):
        painted_over(ROCK, OBJECT[1:])
    with pytest.raises(ValueError, match="at least one step"):
        insertion(share_of_red, ROCK, EVERYWHERE, 1, steps=0)
