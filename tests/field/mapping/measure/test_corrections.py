import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.mapping.measure.corrections import with_corrections
from fpcn_lightning.field.mapping.measure.grains import find_grains
from fpcn_lightning.field.mapping.measure.tables import area_rows
from fpcn_lightning.field.mapping.read.corrections import read_corrections
from fpcn_lightning.field.mapping.write.outlines import outlines_of, write_outlines
from tests.field.mapping.drawn import CLASSES, drawn_map


def random_map(seed: int) -> ClassMap:
    codes = np.random.default_rng(seed).choice([0, 1, 2, NO_DATA], (13, 17), p=[0.5, 0.2, 0.2, 0.1])
    return drawn_map(codes, cell=8, height=100, width=131)


def edited(class_map: ClassMap, path: Path, classes: dict[int, str], *, downwards: bool = True) -> Path:
    """The outlines of a map after a person has given some of its grains other classes."""
    grains = find_grains(class_map)
    write_outlines(path, class_map, grains, outlines_of(class_map, grains), downwards=downwards)
    content = json.loads(path.read_text(encoding="utf-8"))
    for feature in content["features"]:
        name = classes.get(feature["properties"]["grain"])
        if name is not None:
            feature["properties"]["classification"] = {"name": name}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("downwards", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_exactly_the_cells_of_the_corrected_grains_change(seed: int, downwards: bool, tmp_path: Path) -> None:
    class_map = random_map(seed)
    class_map.unfamiliar[:] = True
    grains = find_grains(class_map)
    chosen = [number for number in (1, 2, 5) if grains.code[number - 1] != 2]
    path = edited(class_map, tmp_path / "edited.geojson", dict.fromkeys(chosen, CLASSES[2]), downwards=downwards)
    found = with_corrections(class_map, read_corrections(path, CLASSES))
    changed = np.isin(grains.labels, chosen)
    assert chosen
    assert (found.by_hand == changed).all()
    assert (found.codes == np.where(changed, 2, class_map.codes)).all()
    assert (found.unfamiliar == ~changed).all()
    assert (found.confidence[changed] == 100).all()


def test_areas_by_hand_are_not_corrected_for_confusions(tmp_path: Path) -> None:
    """Half of the map is by hand; of the other half, a fifth of class 0 was taken for class 1."""
    class_map = drawn_map(np.tile([0.0] * 4 + [1.0] * 6, (10, 2)))
    by_hand = class_map.by_hand.copy()
    by_hand[:, :10] = True
    class_map = drawn_map(class_map.codes, by_hand=by_hand)
    confusion = np.array([[800.0, 200, 0], [0, 1000, 0], [0, 0, 1000]])
    rows = area_rows(class_map, find_grains(class_map), 0, confusion)
    assert [row["percent_corrected"] for row in rows[:3]] == pytest.approx([45, 55, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON in UTF-8"),
        ("{}", "is no GeoJSON with features"),
        ('{"features": [1]}', "is no GeoJSON with features"),
        ('{"features": []}', "has no polygon with a class"),
        (
            '{"features": [{"properties": {"class": "quarz"}, "geometry": null}]}',
            r"has the class quarz, which the bundle does not know; did you mean quartz",
        ),
        (
            '{"features": [{"properties": {"class": "quartz"}, "geometry": {"type": "Point", "coordinates": [1, 1]}}]}',
            "has a Point: only polygons",
        ),
        (
            '{"features": [{"properties": {"class": "quartz"}, '
            '"geometry": {"type": "Polygon", "coordinates": [[[1, "x"]]]}}]}',
            "coordinates are no list of rings",
        ),
    ],
)
def test_other_files_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "edited.geojson").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_corrections(tmp_path / "edited.geojson", CLASSES)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file or directory\): check --corrections"):
        read_corrections(tmp_path / "none.geojson", CLASSES)


@pytest.mark.parametrize(
    "properties",
    [
        {"class": "quartz"},
        {"classification": {"name": "quartz"}, "class": "mica, dark"},
        {"classification": '{"name": "quartz"}'},
    ],
)
def test_the_class_is_that_of_qupath_or_of_the_table_of_qgis(properties: dict[str, Any], tmp_path: Path) -> None:
    geometry = {"type": "MultiPolygon", "coordinates": [[[[0, 0], [4, 0], [4, 4], [0, 0]]]]}
    feature = {"type": "Feature", "properties": properties, "geometry": geometry}
    (tmp_path / "edited.geojson").write_text(json.dumps([feature]), encoding="utf-8")
    (outline,) = read_corrections(tmp_path / "edited.geojson", CLASSES)
    assert outline.code == 0
    assert outline.rings[0].shape == (4, 2)
