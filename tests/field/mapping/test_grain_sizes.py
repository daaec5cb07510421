from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.field.mapping.class_map import NO_DATA
from fpcn_lightning.field.mapping.grain_sizes import COLUMNS, draw_sizes, size_rows
from fpcn_lightning.field.mapping.grains import find_grains
from tests.field.mapping.drawn import CLASSES, disc, drawn_map


def test_every_grain_is_in_one_bin() -> None:
    codes = np.zeros((300, 300), np.uint8)
    for y, x, radius in ((60, 60, 50), (200, 200, 50), (60, 200, 13)):
        codes[disc(300, y, x, radius)] = 1
    found = drawn_map(codes, micrometres_per_pixel=2.0)
    grains = find_grains(found)
    rows = [row for row in size_rows(found, grains) if row["class"] == CLASSES[1]]
    assert all(tuple(row) == COLUMNS and row["unit"] == "um" for row in rows)
    assert [row["grains"] for row in rows] == [1, 0, 0, 0, 2]
    assert sum(float(str(row["area_percent"])) for row in rows) == pytest.approx(100)
    edges = [(float(str(row["diameter_from"])), float(str(row["diameter_to"]))) for row in rows]
    assert edges[0][0] <= 52 < edges[0][1]
    assert edges[-1][0] <= 200 < edges[-1][1]
    assert all(high == pytest.approx(low * 2**0.5) for low, high in edges)


@pytest.mark.parametrize("codes", [np.eye(40), np.full((5, 5), NO_DATA), np.zeros((3, 3))], ids=["some", "none", "one"])
def test_they_are_drawn(codes: np.ndarray, tmp_path: Path) -> None:
    found = drawn_map(codes)
    draw_sizes(tmp_path / "sizes.png", found, find_grains(found), 4)
    assert Image.open(tmp_path / "sizes.png").size == (960, 600)
