import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from skimage.measure import points_in_poly

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.measure.grains import find_grains
from fpcn_lightning.field.mapping.write.outlines import outlines_of, write_outlines
from fpcn_lightning.field.mapping.write.qgis_style import qgis_style
from tests.field.mapping.drawn import CLASSES, drawn_map


def features(codes: Any, folder: Path, *, downwards: bool = True, **changes: Any) -> list[dict[str, Any]]:
    class_map = drawn_map(codes, **changes)
    grains = find_grains(class_map)
    outlines = outlines_of(class_map, grains)
    write_outlines(folder / "grains.geojson", class_map, grains, outlines, downwards=downwards)
    content = json.loads((folder / "grains.geojson").read_text(encoding="utf-8"))
    assert content["type"] == "FeatureCollection"
    return content["features"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", range(4))
def test_outlines_contain_the_centres_of_the_cells_of_their_grain(seed: int, tmp_path: Path) -> None:
    """Random cells: grains with holes, that touch at corners, at the border, of one cell, and places without data."""
    codes = np.random.default_rng(seed).choice([0, 1, 2, NO_DATA], (13, 17), p=[0.5, 0.2, 0.2, 0.1])
    class_map = drawn_map(codes, cell=8, height=100, width=131)
    grains = find_grains(class_map)
    found = features(codes, tmp_path, cell=8, height=100, width=131)
    y, x = ((edges[1:] + edges[:-1]) / 2 for edges in (class_map.row_edges, class_map.column_edges))
    centres = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)
    assert len(found) == len(grains)
    for number, feature in enumerate(found, 1):
        outer, *holes = feature["geometry"]["coordinates"]
        inside = points_in_poly(centres, outer)  # type: ignore[no-untyped-call]
        for hole in holes:
            inside &= ~points_in_poly(centres, hole)  # type: ignore[no-untyped-call]
        assert (inside.reshape(codes.shape) == (grains.labels == number)).all()
        assert feature["properties"]["class"] == CLASSES[grains.code[number - 1]]
        assert all(ring[0] == ring[-1] and len(ring) >= 4 for ring in (outer, *holes))
        assert np.min(outer) >= 0
        assert (np.max(outer, axis=0) <= (131, 100)).all()


def test_qgis_counts_rows_downwards_from_zero(tmp_path: Path) -> None:
    codes = np.zeros((3, 3))
    down, up = (features(codes, tmp_path, downwards=downwards)[0] for downwards in (True, False))
    for one, other in zip(down["geometry"]["coordinates"][0], up["geometry"]["coordinates"][0], strict=True):
        assert other == [one[0], -one[1]]
    assert down["properties"]["classification"] == {"name": CLASSES[0], "color": [63, 144, 218]}


def test_a_map_without_data_has_no_outline(tmp_path: Path) -> None:
    assert features(np.full((3, 3), NO_DATA), tmp_path) == []


def test_the_style_names_every_code() -> None:
    root = ElementTree.fromstring(qgis_style(("quartz", "<b>", 'say "x"')))
    entries = root.findall(".//paletteEntry")
    assert [(entry.get("value"), entry.get("label")) for entry in entries] == [
        ("0", "quartz"),
        ("1", "<b>"),
        ("2", 'say "x"'),
        ("255", "(no data)"),
    ]
    assert entries[0].get("color") == "#3f90da"
