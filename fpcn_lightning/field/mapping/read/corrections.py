"""Outlines of grains whose classes a person has corrected, from GeoJSON that QuPath or QGIS has saved."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError, closest
from fpcn_lightning.field.untrusted import printable

MAX_BYTES = 500_000_000


class CorrectedOutline(NamedTuple):
    """An area and its class.

    Attributes:
        code: of the class.
        rings: float64 [N, 2] each, x and y in pixels of the section, y downwards: the outer ring, then the holes.
    """

    code: int
    rings: tuple[NDArray[np.float64], ...]


def read_corrections(path: Path, classes: tuple[str, ...]) -> list[CorrectedOutline]:
    """The outlines in a file, in its order; those without a class are left out.

    The class is `classification.name`, which QuPath writes, or else the property `class`. In a file with y at or below
    0 everywhere, as QGIS has it, y is negated.

    Raises:
        UserError: the file cannot be read, is no GeoJSON, or names a class that the bundle does not know.
    """
    found = []
    for feature in _features(path):
        if name := _class_of(feature):
            code = _code(name, classes, path)
            found += [CorrectedOutline(code, rings) for rings in _polygons(feature, path)]
    if not found:
        raise UserError(f"{path} has no polygon with a class: save grains.geojson with the classes corrected.")
    if max(float(outline.rings[0][:, 1].max()) for outline in found) <= 0:
        return [CorrectedOutline(code, tuple(ring * [1, -1] for ring in rings)) for code, rings in found]
    return found


def _features(path: Path) -> list[Mapping[str, Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} is longer than {MAX_BYTES:,} bytes: is it the file of corrected outlines?")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check --corrections.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON in UTF-8: save the corrected outlines as GeoJSON.") from error
    features = content.get("features") if isinstance(content, dict) else content  # QuPath may save a bare list
    if not isinstance(features, list) or not all(isinstance(feature, dict) for feature in features):
        raise UserError(f"{path} is no GeoJSON with features: save the corrected outlines as GeoJSON.")
    return features


def _class_of(feature: Mapping[str, Any]) -> str:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    classification = properties.get("classification")
    if isinstance(classification, str):  # QGIS saves nested values as text
        try:
            classification = json.loads(classification)
        except ValueError:
            classification = None
    name = classification.get("name") if isinstance(classification, dict) else None
    return str(name or properties.get("class") or "")


def _code(name: str, classes: tuple[str, ...], path: Path) -> int:
    if name not in classes:
        known = ", ".join(map(printable, classes))
        raise UserError(
            f"{path} has the class {printable(name)}, which the bundle does not know{closest(name, classes)}: it knows "
            f"{known}."
        )
    return classes.index(name)


def _polygons(feature: Mapping[str, Any], path: Path) -> Iterator[tuple[NDArray[np.float64], ...]]:
    geometry = feature.get("geometry")
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise UserError(f"{path} has a {kind or 'feature without geometry'}: only polygons can be corrected areas.")
    assert isinstance(geometry, dict)
    coordinates = geometry.get("coordinates")
    polygons: list[Any] = [coordinates] if kind == "Polygon" or not isinstance(coordinates, list) else coordinates
    for polygon in polygons:
        try:
            rings = tuple(np.array(ring, np.float64)[:, :2] for ring in polygon)
        except (TypeError, ValueError, IndexError):
            rings = ()
        if not rings or not all(len(ring) >= 3 and np.isfinite(ring).all() for ring in rings):
            raise UserError(f"{path} has a polygon whose coordinates are no list of rings of [x, y].")
        yield rings
