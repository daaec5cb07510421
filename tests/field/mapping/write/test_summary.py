import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.measure.grains import find_grains
from fpcn_lightning.field.mapping.measure.tables import area_rows
from fpcn_lightning.field.mapping.write.summary import MapSummary, text_summary, warnings
from fpcn_lightning.field.usability import USABLE, Usability
from tests.field.mapping.drawn import disc, drawn_map


@pytest.fixture
def summary() -> MapSummary:
    """A map without warnings."""
    class_map = drawn_map(disc(40, 20, 20, 10).astype(int), micrometres_per_pixel=50.0)
    return MapSummary(
        output=Path("section-map"),
        section=Path("section.tif"),
        bundle="rocks",
        digest="0",
        file="model.onnx",
        usability=USABLE,
        height=40,
        width=40,
        pictures=1,
        stretched=False,
        micrometres_per_pixel=50.0,
        scale_from="option",
        window=8,
        window_from="400 um, as in training",
        network_side=8,
        magnification_checked=True,
        stride=4,
        resolution=5,
        cell=1,
        windows=100,
        windows_without_data=0,
        damaged_segments=0,
        percent_by_hand=0.0,
        grains=2,
        areas=area_rows(class_map, find_grains(class_map), 4, 100 * np.eye(3)),
        contacts=[],
        grain_sizes=[],
        seconds=1.0,
    )


def test_the_notice_of_a_model_comes_first(summary: MapSummary) -> None:
    lines = text_summary(replace(summary, usability=Usability(notice="For trials only."))).splitlines()
    assert lines[:2] == ["For trials only.", "section.tif is mapped in section-map"]


def test_a_map_without_warnings(summary: MapSummary) -> None:
    lines = text_summary(summary).splitlines()
    assert lines[0] == "section.tif is mapped in section-map"
    assert lines[2].split() == ["class", "percent", "corrected", "95", "%", "interval", "mm2", "grains"]
    assert re.fullmatch(r" +quartz +80\.2 +80\.2 +[\d.]+ to [\d.]+ +3\.21 +1", lines[3])
    assert re.fullmatch(r" +mica, dark +19\.8 +19\.8 +[\d.]+ to [\d.]+ +0\.79 +1", lines[4])
    assert lines[5] == ""
    text = " ".join(text_summary(summary).split())
    assert "8 px (400 um) wide, at a distance of 4 px (200 um) from the next" in text
    assert "do not trust grains with a diameter below 5 px (250 um)." in text
    assert "The corrected percentages allow for the confusions" in text
    assert warnings(summary) == []


def test_every_warning(summary: MapSummary) -> None:
    codes = disc(40, 20, 20, 10).astype(int)
    codes[:4] = NO_DATA
    class_map = drawn_map(codes)
    class_map.unfamiliar[30:] = True
    areas = area_rows(class_map, find_grains(class_map), 4)
    doubtful = replace(
        summary,
        micrometres_per_pixel=None,
        scale_from=None,
        window=4,
        window_from="as requested; the magnification was not checked, since the section has no scale",
        magnification_checked=False,
        damaged_segments=2,
        percent_by_hand=3.25,
        pictures=3,
        stretched=True,
        areas=areas,
    )
    text = " ".join(text_summary(doubtful).split())
    for part in (
        "3.2 % of the map was classified by hand",
        "no measured confusions of single windows, so that the percentages have no interval",
        "pass it with --um-per-px",
        "as requested; the magnification was not checked, since the section has no scale.",
        "enlarged 2.0 times",
        "10.0 % of the section has no data (damaged or transparent; damaged parts of the file: 2)",
        "contains 3 pictures: only the first is mapped",
        "its brightness was stretched",
        "28 % of the area with data look unlike",
    ):
        assert part in text
    assert text.count("Warning: ") == 7
    unharmed = " ".join(warnings(replace(doubtful, damaged_segments=0)))
    assert "has no data (damaged or transparent): this area is white" in unharmed
    assert doubtful.percent_no_data == 10
