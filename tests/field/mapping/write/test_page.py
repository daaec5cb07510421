import base64
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.mapping.measure.grains import find_grains
from fpcn_lightning.field.mapping.measure.tables import area_rows
from fpcn_lightning.field.mapping.write.page import verdict, write_page
from fpcn_lightning.field.mapping.write.result_folder import SIZE_FIGURE
from fpcn_lightning.field.mapping.write.summary import MapSummary
from tests.field.mapping.drawn import disc, drawn_map
from tests.field.mapping.write.test_summary import summary

__all__ = ["summary"]
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def class_map() -> ClassMap:
    codes = disc(40, 20, 20, 10).astype(int)
    codes[:4] = NO_DATA
    return drawn_map(codes, classes=("quartz", SCRIPT, "c"), micrometres_per_pixel=50.0)


def page_of(summary: MapSummary, class_map: ClassMap, folder: Path) -> str:
    (folder / SIZE_FIGURE).write_bytes(b"figure")
    write_page(folder / "index.html", summary, class_map, np.full((80, 80, 3), 90, np.uint8))
    return (folder / "index.html").read_text(encoding="utf-8")


def layer(page: str, name: str) -> Image.Image:
    found = re.search(rf'<img[^>]*alt="{name}[^"]*"', page)
    assert found is not None
    data = re.search(r"base64,([^\"]+)", found[0])
    assert data is not None
    return Image.open(io.BytesIO(base64.b64decode(data[1])))


def test_the_page_shows_areas_and_warnings_and_requests_nothing(
    summary: MapSummary, class_map: ClassMap, tmp_path: Path
) -> None:
    areas = area_rows(class_map, find_grains(class_map), 4, 100 * np.eye(3))
    page = page_of(replace(summary, areas=areas, stretched=True), class_map, tmp_path)
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "Warning: the file does not define white" in page
    first = r"quartz has the largest area: (78\.\d) % as counted, \1 % corrected \(95 % interval [\d.]+ to"
    assert re.search(first, page)
    for link in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert link.startswith("data:") or re.fullmatch(r"[a-z_]+\.(png|csv|tif|qml|json|geojson)", link)
    assert "http" not in page


def test_the_layers_are_the_classes_and_what_is_unfamiliar(
    summary: MapSummary, class_map: ClassMap, tmp_path: Path
) -> None:
    assert 'alt="Hatched' not in page_of(summary, class_map, tmp_path)
    class_map.unfamiliar[30:] = True
    page = page_of(summary, class_map, tmp_path)
    classes, hatched = (np.asarray(layer(page, name)) for name in ("The most likely class", "Hatched"))
    assert layer(page, "The section").size == (80, 80)
    assert (classes[:8, :, 3] == 0).all()
    assert (classes[8:, :, 3] == 255).all()
    assert len(np.unique(classes[8:, :, :3].reshape(-1, 3), axis=0)) == 2
    assert not hatched[:60].any()
    assert set(np.unique(hatched[60:, :, 3])) == {0, 255}


def test_the_verdict_says_when_nothing_is_known(summary: MapSummary) -> None:
    empty = drawn_map(np.full((5, 5), NO_DATA))
    nothing = replace(summary, areas=area_rows(empty, find_grains(empty), 1))
    assert verdict(nothing) == "No part of the section could be classified."
    full = drawn_map(np.zeros((5, 5)))
    unmeasured = replace(summary, areas=area_rows(full, find_grains(full), 1))
    assert "100.0 % as counted. How far that may be off was not measured." in verdict(unmeasured)
