"""Whole maps, and the command as a real process."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.command import main
from fpcn_lightning.field.mapping.map_section import map_section, windows_of_batch
from fpcn_lightning.field.mapping.measure.class_map import NO_DATA
from fpcn_lightning.field.mapping.write.result_folder import RESULTS, UNFINISHED
from tests.field.conftest import COLOURS, MakeBundle
from tests.field.mapping.drawn import disc

SIDE = 640
NAMES = ("r\u00f6tlich, grob", "green", "blue")


def draw_section(path: Path, *, damage: bool = False) -> NDArray[np.uint8]:
    """Write a section of a blue ground with a red and a green disc; its codes. `damage` damages one of its tiles."""
    codes = np.full((SIDE, SIDE), 2, np.uint8)
    codes[disc(SIDE, 200, 220, 150)] = 0
    codes[disc(SIDE, 480, 420, 80)] = 1
    pixels = np.array(list(COLOURS.values()), np.uint8)[codes]
    tifffile.imwrite(path, pixels, tile=(128, 128), compression="zlib", photometric="rgb")
    if damage:
        with tifffile.TiffFile(path) as file:
            offset = file.pages[0].dataoffsets[24]
        with path.open("r+b") as raw:
            raw.seek(offset)
            raw.write(b"\xff" * 8)
    return codes


@pytest.fixture
def small_section(tmp_path: Path) -> Path:
    """A black section of 64 px."""
    tifffile.imwrite(tmp_path / "section.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    return tmp_path / "section.tif"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_map_of_a_model_that_is_not_usable_says_so(
    make_bundle: MakeBundle, small_section: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(not_usable=["accuracy 34 % is not above 33 %"])
    assert main(["map", str(bundle), str(small_section), "--output", str(tmp_path / "map")]) == 0
    sentence = "The model is not usable: accuracy 34 % is not above 33 %."
    assert capsys.readouterr().out.startswith(f"{sentence}\n")
    assert f"Warning: {sentence}" in (tmp_path / "map" / "index.html").read_text(encoding="utf-8")
    facts = json.loads((tmp_path / "map" / "map.json").read_text(encoding="utf-8"))
    assert facts["usability"] == {"reasons": ["accuracy 34 % is not above 33 %"], "notice": ""}


def test_a_section_becomes_maps_and_tables(make_bundle: MakeBundle, tmp_path: Path) -> None:
    codes = draw_section(tmp_path / "section.tif", damage=True)
    output = tmp_path / "maps" / "section"
    bundle = make_bundle(NAMES, micrometres_per_pixel=4.0)
    summary = map_section(bundle, tmp_path / "section.tif", output, micrometres_per_pixel=4.0, threads=1)
    assert names(output) == sorted(RESULTS)
    assert (summary.window, summary.stride, summary.magnification_checked) == (32, 16, True)
    mapped = tifffile.imread(output / "class_map.tif")
    assert (mapped[512:, 512:] == NO_DATA).all()
    assert ((mapped == codes) | (mapped == NO_DATA)).mean() > 0.98
    areas = {row["class"]: row for row in table(output / "areas.csv")}
    assert list(areas) == [*NAMES, "(no data)"]
    for name, radius in zip(NAMES[:2], (150, 80), strict=True):
        assert float(areas[name]["area_mm2"]) == pytest.approx(np.pi * (radius * 0.004) ** 2, rel=0.02)
        assert float(areas[name]["weighted_diameter_um"]) == pytest.approx(8 * radius, rel=0.01)
        assert areas[name]["grains"] == "1"
    assert float(areas["(no data)"]["percent_of_section"]) == pytest.approx(4, abs=0.3)
    assert [row["class"] for row in table(output / "grains.csv")] == [NAMES[2], *NAMES[:2]]
    contacts = {row["class_1"]: float(row["length_mm"]) for row in table(output / "contacts.csv")}
    assert contacts == pytest.approx({NAMES[0]: 0.3 * 4 * np.pi, NAMES[1]: 0.16 * 4 * np.pi}, rel=0.03)
    facts = json.loads((output / "map.json").read_text(encoding="utf-8"))
    assert facts["damaged_segments"] == 1
    assert facts["areas"] == summary.areas
    assert "4.0 % of the section has no data" in (output / "summary.txt").read_text(encoding="utf-8").replace("\n", "")


@pytest.mark.usefixtures("without_figures")
def test_a_finished_map_is_refused_and_overwritten(bundle_folder: Path, small_section: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"window": 64, "threads": 1, "output": tmp_path / "map"}
    first = map_section(bundle_folder, small_section, **options)
    assert first.micrometres_per_pixel is None
    assert first.areas[0]["area_mm2"] is None
    with pytest.raises(UserError, match="already contains results"):
        map_section(bundle_folder, small_section, **options)
    second = map_section(bundle_folder, small_section, overwrite=True, **{**options, "window": 80})
    assert (first.window, second.window) == (64, 80)


@pytest.mark.usefixtures("without_figures")
def test_the_scale_is_from_the_file_unless_the_user_passes_one(make_bundle: MakeBundle, tmp_path: Path) -> None:
    path = tmp_path / "section.tif"
    resolution = {"resolution": (5000, 5000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, np.zeros((64, 64, 3), np.uint8), photometric="rgb", **resolution)  # type: ignore[arg-type]
    bundle = make_bundle(micrometres_per_pixel=2.0)
    of_file = map_section(bundle, path, tmp_path / "file", threads=1)
    assert (of_file.micrometres_per_pixel, of_file.scale_from, of_file.window) == (2, "file", 32)
    given = map_section(bundle, path, tmp_path / "option", micrometres_per_pixel=1.0, threads=1)
    assert (given.micrometres_per_pixel, given.scale_from, given.window) == (1, "option", 64)


@pytest.mark.parametrize("options", [{"overlap": 1.0}, {"overlap": -0.1}, {"batch_size": 0}, {"threads": 0}])
def test_invalid_numbers(options: dict[str, Any], bundle_folder: Path, small_section: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        map_section(bundle_folder, small_section, tmp_path / "map", **options)
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize(("side", "count"), [(96, 43), (224, 8), (448, 2), (1000, 1)])
def test_small_windows_are_computed_in_larger_batches(side: int, count: int) -> None:
    assert windows_of_batch(side) == count


@pytest.mark.usefixtures("without_figures")
def test_transparent_parts_are_no_mineral(bundle_folder: Path, tmp_path: Path) -> None:
    pixels = np.zeros((256, 256, 4), np.uint8)
    pixels[..., :3] = COLOURS["green"]
    pixels[:, 128:, 3] = 255
    tifffile.imwrite(tmp_path / "section.tif", pixels, photometric="rgb", extrasamples=("unassalpha",), tile=(64, 64))
    summary = map_section(bundle_folder, tmp_path / "section.tif", tmp_path / "map", threads=1)
    mapped = tifffile.imread(tmp_path / "map" / "class_map.tif")
    np.testing.assert_array_equal(mapped, np.where(np.arange(256) < 128, NO_DATA, 1) + np.zeros((256, 1)))
    assert (summary.percent_no_data, summary.damaged_segments) == (50, 0)


@pytest.mark.usefixtures("without_figures")
def test_windows_far_larger_than_the_section_are_refused(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle(micrometres_per_pixel=1.0)
    tifffile.imwrite(tmp_path / "section.tif", np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    far_larger: list[dict[str, Any]] = [{"micrometres_per_pixel": 1e-3}, {"window": 10**8}, {"window": 161}]
    for options in far_larger:
        with pytest.raises(UserError, match=r"40 x 30 px: check the scale"):
            map_section(bundle, tmp_path / "section.tif", tmp_path / "map", **options, threads=1)
    map_section(bundle, tmp_path / "section.tif", tmp_path / "map", window=160, threads=1)


def test_too_little_memory_is_reported(
    bundle_folder: Path, small_section: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("fpcn_lightning.field.mapping.map_section.predict_windows", full)
    with pytest.raises(UserError, match="not enough memory"):
        map_section(bundle_folder, small_section, tmp_path / "map", threads=1)


@pytest.mark.parametrize("name", ["scipy", "skimage", "matplotlib"])
def test_packages_that_are_missing_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"{name}, which is not installed: pip install 'fpcn-lightning\[map\]'"):
        map_section(tmp_path, tmp_path)


@pytest.mark.slow
def test_a_killed_map_resumes(bundle_folder: Path, tmp_path: Path) -> None:
    """The command, killed in the middle, has the same result as an uninterrupted run."""
    draw_section(tmp_path / "section.tif")
    command = [sys.executable, "-c", "from fpcn_lightning.field.command import main; raise SystemExit(main())", "map"]
    words = ["bundle", "section.tif", "--window-px", "24", "--threads", "1", "--batch-size", "2"]
    done = tmp_path / "section-map" / UNFINISHED / "done.npy"
    process = subprocess.Popen([*command, *words], cwd=tmp_path)
    while process.poll() is None and not (done.exists() and np.load(done).sum() > 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 3 < np.load(done).sum() < len(np.load(done))
    again = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "section.tif is mapped in section-map" in again.stdout
    assert again.stderr == ""
    whole = map_section(bundle_folder, tmp_path / "section.tif", tmp_path / "whole", window=24, threads=1)
    facts = json.loads((tmp_path / "section-map" / "map.json").read_text(encoding="utf-8"))
    assert facts["areas"] == whole.areas
    for name in ("class_map.tif", "confidence_map.tif", "grains.csv", "contacts.csv"):
        assert (tmp_path / "section-map" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert names(tmp_path / "section-map") == sorted(RESULTS)
