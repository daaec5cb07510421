import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from fpcn_lightning.models.crops import pixel_boxes
from fpcn_lightning.models.windows import (
    WINDOWS,
    Scale,
    WindowSet,
    choose_parts,
    place_windows,
    score_windows,
    suppress,
)

SETS: list[WindowSet] = ["cub", "cars"]
MAP, PICTURE = (14, 14), (448, 448)


def boxes_of(scale: Scale) -> Tensor:
    return pixel_boxes(place_windows(list(scale.shapes), *MAP), MAP, PICTURE)


def random_maps(count: int = 3, channels: int = 4, height: int = 14, width: int = 14) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(height * width))


def overlap(one: list[int], other: list[int]) -> float:
    """Intersection over union by counting pixels."""
    a, b = (
        {(row, column) for row in range(top, bottom + 1) for column in range(left, right + 1)}
        for top, left, bottom, right in (one, other)
    )
    return len(a & b) / len(a | b)


# --- positions of the windows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "counts", "kept"),
    [
        ("cub", [[121, 120, 120], [81, 80, 80], [49, 45, 45, 48, 48, 40, 40]], [2, 3, 2]),
        ("cars", [[81, 80, 80], [49, 45, 45, 48, 48], [25, 24, 24, 21, 21]], [3, 2, 1]),
    ],
)
def test_windows_have_the_published_numbers(name: WindowSet, counts: list[list[int]], kept: list[int]) -> None:
    found = [[len(place_windows([shape], *MAP)) for shape in scale.shapes] for scale in WINDOWS[name]]
    assert found == counts
    assert [scale.kept for scale in WINDOWS[name]] == kept
    assert sum(map(sum, found)) == {"cub": 917, "cars": 591}[name]


def test_boxes_have_the_published_pixels() -> None:
    boxes = torch.cat([boxes_of(scale) for scale in WINDOWS["cub"]]).tolist()
    assert boxes[0] == [0, 0, 127, 127]
    assert boxes[1] == [0, 31, 127, 159]
    assert boxes[-1] == [127, 223, 447, 447]


@pytest.mark.parametrize("name", SETS)
def test_windows_are_placed_row_by_row(name: WindowSet) -> None:
    for scale in WINDOWS[name]:
        expected = []
        for height, width in scale.shapes:
            for number in range((15 - height) * (15 - width)):
                row, column = number // (15 - width), number % (15 - width)
                top, left = max(0, 32 * row - 1), max(0, 32 * column - 1)
                expected.append([top, left, 32 * row - 1 + 32 * height, 32 * column - 1 + 32 * width])
        assert boxes_of(scale).tolist() == expected


def test_scores_agree_with_a_loop() -> None:
    maps = random_maps(2, 1)[:, 0]
    shapes = [(3, 5), (14, 14), (1, 2)]
    scores = score_windows(maps, shapes)
    windows = place_windows(shapes, *MAP).tolist()
    assert scores.shape == (2, len(windows))
    for image, its_scores in zip(maps, scores.tolist(), strict=True):
        expected = [float(image[top:end, left:stop].mean()) for top, left, end, stop in windows]
        assert its_scores == pytest.approx(expected, rel=1e-5)


# --- non-maximum suppression ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_suppression_agrees_with_torchvision(name: WindowSet) -> None:
    """torchvision's boxes exclude their end, ours include the last pixel."""
    for scale in WINDOWS[name]:
        boxes = boxes_of(scale)
        scores = score_windows(random_maps(20).sum(1), list(scale.shapes))
        for its_scores, picks in zip(scores, suppress(scores, boxes, scale.kept), strict=True):
            expected = nms((boxes + torch.tensor([0, 0, 1, 1])).float(), its_scores, 0.25)[: scale.kept]
            repeated = [*expected.tolist(), *[int(expected[-1])] * (scale.kept - len(expected))]
            assert picks.tolist() == repeated


@pytest.mark.parametrize("name", SETS)
def test_picks_overlap_by_a_quarter_at_most(name: WindowSet) -> None:
    for scale in WINDOWS[name]:
        boxes = boxes_of(scale)
        scores = score_windows(random_maps(2).sum(1), list(scale.shapes))
        picks = suppress(scores, boxes, scale.kept)
        assert torch.equal(picks[:, 0], scores.argmax(1))
        for picked in boxes[picks].tolist():
            apart = [overlap(a, b) for i, a in enumerate(picked) for b in picked[:i] if a != b]
            assert all(share <= 0.25 for share in apart)


def test_overlap_counts_pixels_inclusively() -> None:
    """3 of 12 pixels are a quarter, which is kept; with edges one pixel shorter, it would be 0 of 4."""
    boxes = torch.tensor([[0, 0, 2, 2], [0, 2, 2, 3], [0, 0, 2, 1], [9, 9, 9, 9]])
    assert [overlap(boxes[0].tolist(), box.tolist()) for box in boxes[1:]] == [0.25, pytest.approx(2 / 3), 0]
    assert suppress(torch.tensor([[4.0, 3, 2, 1]]), boxes, 4).tolist() == [[0, 1, 3, 3]]


def test_last_pick_is_repeated_when_nothing_is_left() -> None:
    same = torch.tensor([[5, 5, 9, 9]]).repeat(3, 1)
    assert suppress(torch.tensor([[0.0, 2, 1]]), same, 3).tolist() == [[1, 1, 1]]


def test_images_of_a_batch_are_independent() -> None:
    maps = random_maps(6)
    one_by_one = torch.cat([choose_parts(image[None], WINDOWS["cub"], PICTURE) for image in maps])
    assert torch.equal(choose_parts(maps, WINDOWS["cub"], PICTURE), one_by_one)


def test_windows_with_high_activation_are_chosen() -> None:
    maps = torch.zeros(1, 2, 14, 14)
    maps[:, :, 1:5, 1:5] = 2
    maps[:, :, 9:13, 8:12] = 1
    small = choose_parts(maps, WINDOWS["cub"], PICTURE)[0, :2]
    assert small.tolist() == [[31, 31, 159, 159], [287, 255, 415, 383]]


@pytest.mark.parametrize(("name", "parts"), [("cub", 7), ("cars", 6)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 5), (7, 7), (14, 14), (28, 28)])
def test_windows_fit_maps_of_other_sizes(name: WindowSet, parts: int, height: int, width: int) -> None:
    boxes = choose_parts(random_maps(2, 3, height, width), WINDOWS[name], (32 * height, 32 * width))
    assert boxes.shape == (2, parts, 4)
    assert (boxes[..., :2] >= 0).all()
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    assert (boxes[..., 2:] < 32 * torch.tensor([height, width])).all()


@pytest.mark.parametrize("size", [7, 28])
def test_windows_keep_their_share_of_the_map(size: int) -> None:
    """6 x 6 of 14 is 3 x 3 of 7 and 12 x 12 of 28."""
    maps = torch.zeros(1, 1, size, size)
    side = 6 * size // 14
    maps[:, :, -side:, -side:] = 1
    medium = choose_parts(maps, (Scale(((6, 6),), 1),), PICTURE)
    first = 448 - 192 - 1
    assert medium.tolist() == [[[first, first, 447, 447]]]


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan, math.inf])
def test_constant_or_infinite_maps_give_some_windows(value: float) -> None:
    boxes = choose_parts(torch.full((2, 3, 14, 14), value), WINDOWS["cub"], PICTURE)
    assert boxes.shape == (2, 7, 4)
    assert ((boxes >= 0) & (boxes <= 447)).all()
