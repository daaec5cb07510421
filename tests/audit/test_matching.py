"""Pixels decide: every kind of changed copy is verified, and its change is measured; other images are not."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.audit.candidates import Candidates, find_candidates
from fpcn_lightning.audit.coarse import turned
from fpcn_lightning.audit.descriptors import GREY, Descriptors
from fpcn_lightning.audit.matching import COPY, Match, verified
from tests.audit.conftest import CHANGES

SIDE = 224


def greys(images: Sequence[Image.Image]) -> Tensor:
    squashed = [np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in images]
    return torch.from_numpy(np.stack(squashed)).float()


def compared(images: Sequence[Image.Image], pairs: Sequence[tuple[int, int]]) -> list[Match]:
    large = greys(images)
    small = functional.interpolate(large[:, None], (GREY, GREY), mode="bilinear", antialias=True)[:, 0]
    crops, scenes = np.array(pairs).T
    candidates = Candidates(crops, scenes, np.ones(len(pairs), np.float32))
    return verified(candidates, small.round().to(torch.uint8).numpy(), lambda number: large[number])


@pytest.fixture(scope="module")
def rocks_drawn(drawn: Path) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(drawn.glob("*/*"))]


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_copy_is_verified(kind: str, rocks_drawn: list[Image.Image]) -> None:
    for image in rocks_drawn[::6]:
        (match,) = compared([image, CHANGES[kind](image)], [(1, 0)])
        assert (match.crop, match.scene) == (1, 0)
        assert match.agreement >= COPY


def test_different_images_are_no_copies(rocks_drawn: list[Image.Image]) -> None:
    images = rocks_drawn[::2]
    assert compared(images, list(itertools.permutations(range(len(images)), 2))) == []


@pytest.mark.parametrize("turn", range(8))
def test_the_turn_is_measured(turn: int, rocks_drawn: list[Image.Image]) -> None:
    pixels = torch.from_numpy(np.array(rocks_drawn[0].convert("L")))
    # What is turned by `turn` becomes the copy; the audit turns the copy, so that it looks like the scene.
    copy = Image.fromarray(turned(pixels, turn).numpy())
    (match,) = compared([rocks_drawn[0], copy], [(1, 0)])
    assert torch.equal(turned(turned(pixels, turn), match.turn), pixels)


def test_the_share_of_a_crop_is_measured(rocks_drawn: list[Image.Image]) -> None:
    (match,) = compared([rocks_drawn[3], CHANGES["cropped"](rocks_drawn[3])], [(1, 0)])
    assert match.turn == 0
    assert match.height == pytest.approx(0.8, abs=0.02)
    assert match.width == pytest.approx(0.7, abs=0.02)


def test_a_pair_in_both_directions_is_one_match(rocks_drawn: list[Image.Image]) -> None:
    (match,) = compared([rocks_drawn[3], CHANGES["cropped"](rocks_drawn[3])], [(0, 1), (1, 0), (1, 0)])
    assert (match.crop, match.scene) == (1, 0)  # the crop lies in the whole image, not the other way round


def test_plain_images_are_no_copies() -> None:
    plain = [Image.new("RGB", (200, 150), colour) for colour in ("white", "white", "black")]
    assert compared(plain, [(0, 1), (1, 2), (2, 0)]) == []


def test_a_common_outline_is_no_copy() -> None:
    """Two different textures in the same oval on white."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:200j, -1:1:200j]
    inside = rows**2 + columns**2 < 0.5
    images = []
    for _ in range(2):
        coarse = Image.fromarray(random.integers(40, 160, (25, 25), dtype=np.uint8)).resize((200, 200))
        images.append(Image.fromarray(np.where(inside, np.asarray(coarse), 255).astype(np.uint8)))
    assert compared(images, [(0, 1), (1, 0)]) == []


def descriptors(vectors: np.ndarray) -> Descriptors:
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    none = np.empty((len(vectors), 0))
    return Descriptors(np.stack([unit] * 4), unit[None], none.astype(np.float32), none.astype(np.uint8))


@pytest.mark.parametrize("count", [2, 7, 600])
def test_candidates_are_the_nearest_of_all_whatever_the_size_of_a_part(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(count, 6))
    found = find_candidates(descriptors(vectors), neighbours=3)
    unit = descriptors(vectors).regions[0].astype(np.float32)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    kept = min(3, count - 1)
    for number in range(count):
        own = found.scenes[found.crops == number]
        assert set(own.tolist()) == set(np.argsort(-similarity[number])[:kept].tolist())


def test_a_single_image_has_no_candidates() -> None:
    assert len(find_candidates(descriptors(np.ones((1, 4)))).crops) == 0


def test_candidates_of_two_sides_are_of_the_other_side_alone() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 6))
    side = np.arange(30) < 25
    found = find_candidates(descriptors(vectors), neighbours=3, apart=side)
    assert len(found.crops) == 3 * 30
    assert (side[found.crops] != side[found.scenes]).all()
    # Only 2 images on one side: all pairs are candidates.
    few = find_candidates(descriptors(vectors), neighbours=3, apart=np.arange(30) < 2)
    assert {tuple(sorted(pair)) for pair in zip(few.crops.tolist(), few.scenes.tolist(), strict=True)} == {
        (one, other) for one in range(2) for other in range(2, 30)
    }
