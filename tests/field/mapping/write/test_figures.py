from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.measure.grains import find_grains
from fpcn_lightning.field.mapping.measure.palette import class_colours, hexadecimal
from fpcn_lightning.field.mapping.measure.tables import area_rows
from fpcn_lightning.field.mapping.write.figures import draw_overview, draw_sizes, scale_bar
from fpcn_lightning.field.mapping.write.summary import metric
from tests.field.mapping.drawn import drawn_map


@pytest.mark.parametrize(
    ("shape", "classes", "scale"), [((60, 60), 3, 2.5), ((40, 120), 30, None), ((120, 40), 10, 0.1)]
)
def test_each_class_has_its_share_of_the_picture(
    shape: tuple[int, int], classes: int, scale: float | None, tmp_path: Path
) -> None:
    codes = np.arange(shape[0] * shape[1]).reshape(shape) * classes // (shape[0] * shape[1])
    codes[:4, :4] = NO_DATA
    names = tuple(f"class {code}, $\\no$ \u03b4" for code in range(classes))
    class_map = drawn_map(codes, cell=9, micrometres_per_pixel=scale, classes=names)
    photograph = np.full((*shape, 3), (1, 2, 3), np.uint8)
    draw_overview(tmp_path / "overview.png", class_map, photograph, area_rows(class_map, find_grains(class_map), 3))
    picture = np.asarray(Image.open(tmp_path / "overview.png").convert("RGB"))
    assert 1000 < max(picture.shape) <= 2000
    counts = np.bincount((picture @ np.array([2**16, 2**8, 1])).ravel(), minlength=2**24)
    panel = counts[0x010203]  # the photograph, except for the scale bar
    for code, colour in enumerate(class_colours(classes)[:classes]):
        share = counts[int(hexadecimal(colour)[1:], 16)] / panel
        assert share == pytest.approx((codes == code).mean(), rel=0.35)


def test_the_first_ten_colours_differ_with_colour_blindness() -> None:
    """Simulated after Machado, Oliveira and Fernandes (2009), severity 1, and compared in CIE Lab."""
    from skimage.color import deltaE_ciede2000, rgb2lab

    red_blind = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    green_blind = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    table: Any = np.vstack((class_colours(10)[:10], class_colours(10)[NO_DATA])) / 255
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    for matrix in (np.eye(3), np.array(red_blind), np.array(green_blind)):
        seen = np.clip(linear @ matrix.T, 0, 1)
        display = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = rgb2lab(display)
        differences = deltaE_ciede2000(lab[:, None], lab[None])  # type: ignore[no-untyped-call]
        assert (differences[~np.eye(11, dtype=bool)] > 5).all()


def test_later_colours_are_different() -> None:
    assert len({hexadecimal(colour) for colour in class_colours(50)[:50]}) == 50
    assert (class_colours(50)[50:] == 255).all()


@pytest.mark.parametrize(
    ("width", "scale", "pixels", "text"),
    [
        (1000, 1.2, 500 / 1.2, "500 um"),
        (30_000, 1.0, 10_000, "1 cm"),
        (3000, 2.5, 800, "2 mm"),
        (64, 0.01, 20, "0.2 um"),
        (1, 2.0, 1, "2 um"),
    ],
)
def test_scale_bars_are_round(width: float, scale: float, pixels: float, text: str) -> None:
    length, label = scale_bar(width, scale)
    assert length == pytest.approx(pixels)
    assert label == text
    assert scale_bar(1000, None) == (200, "200 px (scale unknown)")
    assert scale_bar(1, None) == (1, "1 px (scale unknown)")
    assert metric(1234) == "1.23 mm"


@pytest.mark.parametrize("codes", [np.eye(40), np.full((5, 5), NO_DATA), np.zeros((3, 3))], ids=["some", "none", "one"])
def test_grain_sizes_are_drawn(codes: np.ndarray, tmp_path: Path) -> None:
    class_map = drawn_map(codes)
    draw_sizes(tmp_path / "sizes.png", class_map, find_grains(class_map), 4)
    with Image.open(tmp_path / "sizes.png") as picture:
        assert picture.size == (960, 600)
