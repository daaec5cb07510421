import pytest
import torch
from torch import Tensor, nn

from fpcn_lightning.models.crops import crop_and_resize, enclosing_cells, pixel_boxes
from fpcn_lightning.models.positioning import Positioning

MAP, PICTURE = (14, 14), (448, 448)


def blob(rows: slice, columns: slice, value: float = 1.0) -> Tensor:
    features = torch.zeros(1, 2048, 14, 14)
    features[:, :, rows, columns] = value
    return features


def located_box(last: Tensor, previous: Tensor) -> list[int]:
    inside = Positioning(strict=True, largest_component=True, previous_block=True)(last, previous).inside
    return pixel_boxes(enclosing_cells(inside), MAP, PICTURE)[0].tolist()


def test_boxes_have_the_published_pixels() -> None:
    rectangle = blob(slice(2, 5), slice(3, 7))
    assert located_box(rectangle, rectangle) == [63, 95, 159, 223]
    two = blob(slice(0, 2), slice(0, 2), value=5.0) + blob(slice(6, 10), slice(6, 12))
    assert located_box(two, two) == [191, 191, 319, 383]
    assert located_box(blob(slice(0, 3), slice(0, 3)), blob(slice(8, 12), slice(8, 12))) == [0, 0, 447, 447]


def test_enclosing_cells_agree_with_a_loop() -> None:
    inside = torch.rand(40, 5, 9, generator=torch.Generator().manual_seed(0)) < 0.1
    inside[:, 2, 3] = True
    for mask, cells in zip(inside, enclosing_cells(inside).tolist(), strict=True):
        places = [(row, column) for row in range(5) for column in range(9) if mask[row, column]]
        rows, columns = [row for row, _ in places], [column for _, column in places]
        assert cells == [min(rows), min(columns), max(rows) + 1, max(columns) + 1]


@pytest.mark.parametrize(
    ("map_size", "picture_size"), [((14, 14), (448, 448)), ((3, 3), (96, 96)), ((4, 3), (100, 50))]
)
def test_boxes_are_inside_the_image_and_contain_their_cells(
    map_size: tuple[int, int], picture_size: tuple[int, int]
) -> None:
    height, width = map_size
    cells = torch.tensor(
        [
            [top, left, end_row, end_column]
            for top in range(height)
            for left in range(width)
            for end_row in range(top + 1, height + 1)
            for end_column in range(left + 1, width + 1)
        ]
    )
    boxes = pixel_boxes(cells, map_size, picture_size)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] < torch.tensor(picture_size)).all()
    for (top, left, end_row, end_column), box in zip(cells.tolist(), boxes.tolist(), strict=True):
        assert box[0] == max(0, top * picture_size[0] // height - 1)
        assert box[1] == max(0, left * picture_size[1] // width - 1)
        assert box[2] == end_row * picture_size[0] // height - 1
        assert box[3] == end_column * picture_size[1] // width - 1
        assert box[2] >= box[0]
        assert box[3] >= box[1]


def interpolated(image: Tensor, box: list[int], size: int) -> Tensor:
    top, left, bottom, right = box
    crop = image[None, :, top : bottom + 1, left : right + 1]
    return nn.functional.interpolate(crop, (size, size), mode="bilinear", align_corners=True)[0]


@pytest.mark.parametrize("size", [1, 40, 64, 97])
def test_crops_agree_with_a_loop_over_boxes(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    images = torch.rand(3, 2, 64, 80, generator=generator)
    corners = torch.rand(3, 5, 2, 2, generator=generator) * torch.tensor([64, 80])
    boxes = corners.long().sort(dim=2).values.flatten(2)
    boxes[0, 0] = torch.tensor([0, 0, 63, 79])
    boxes[1, 1] = torch.tensor([63, 79, 63, 79])
    crops = crop_and_resize(images, boxes, size)
    assert crops.shape == (3, 5, 2, size, size)
    for image, its_boxes, its_crops in zip(images, boxes.tolist(), crops, strict=True):
        for box, crop in zip(its_boxes, its_crops, strict=True):
            torch.testing.assert_close(crop, interpolated(image, box, size), rtol=0, atol=1e-4)


def test_crops_of_large_images_agree_too() -> None:
    images = torch.rand(2, 3, 448, 448, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[[63, 95, 159, 223]], [[0, 31, 447, 447]]])
    crops = crop_and_resize(images, boxes, 448)[:, 0]
    for image, box, crop in zip(images, boxes[:, 0].tolist(), crops, strict=True):
        torch.testing.assert_close(crop, interpolated(image, box, 448), rtol=0, atol=1e-4)


def test_box_of_the_whole_image_gives_the_image() -> None:
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([[[0, 0, 47, 47]]]).expand(2, 1, 4)
    torch.testing.assert_close(crop_and_resize(images, whole, 48)[:, 0], images, rtol=0, atol=1e-5)


def test_half_precision_is_cropped_in_float32() -> None:
    images = torch.rand(1, 3, 448, 448, generator=torch.Generator().manual_seed(0)).bfloat16()
    boxes = torch.tensor([[[301, 17, 447, 401]]])
    crops = crop_and_resize(images, boxes, 100)
    assert crops.dtype == torch.bfloat16
    assert torch.equal(crops, crop_and_resize(images.float(), boxes, 100).bfloat16())
