from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tifffile import TiffFile

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.measure.palette import class_colours
from fpcn_lightning.field.mapping.write.rasters import TILE, write_raster
from tests.field.mapping.drawn import drawn_map


def test_a_raster_has_the_cells_at_full_size(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 3, (60, 37))
    codes[:5] = NO_DATA
    class_map = drawn_map(codes, cell=31, height=1850, width=1120, micrometres_per_pixel=2.5)
    write_raster(tmp_path / "map.tif", class_map, class_map.codes, class_colours(3))
    with TiffFile(tmp_path / "map.tif") as file:
        (series,) = file.series
        pages: list[Any] = [level.pages[0] for level in series.levels]
        pixels = pages[0].asarray()
        assert file.is_bigtiff
        assert [page.shape for page in pages] == [(1850, 1120), (925, 560), (463, 280)]
        assert all(page.is_tiled and page.tile == (TILE, TILE) for page in pages)
        assert pages[0].photometric.name == "PALETTE"
        assert np.array_equal(pages[0].colormap.T, class_colours(3).astype(int) * 257)
        assert [page.get_resolution("MICROMETER") for page in pages] == [
            pytest.approx((1 / step, 1 / step)) for step in (2.5, 5, 10)
        ]
        assert pages[0].tags[42113].value == "255"
        small = pages[2].asarray()
    assert (pixels == class_map.codes.repeat(31, 0).repeat(31, 1)[:1850, :1120]).all()
    assert (small[10:-10, 10:-10] == pixels[2::4, 2::4][10 : 463 - 10, 10 : 280 - 10]).all()


def test_a_small_map_without_a_scale(tmp_path: Path) -> None:
    class_map = drawn_map(np.array([[0, 1], [2, NO_DATA]]), cell=8, height=15, width=9)
    write_raster(tmp_path / "map.tif", class_map, class_map.confidence)
    with TiffFile(tmp_path / "map.tif") as file:
        page: Any = file.pages.first
        assert len(file.series[0].levels) == 1
        assert (page.asarray() == class_map.confidence.repeat(8, 0).repeat(8, 1)[:15, :9]).all()
        assert page.tags["ResolutionUnit"].value == 1
