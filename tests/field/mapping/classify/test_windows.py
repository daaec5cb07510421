"""Predictions for windows: against the network on pixels cut by hand, with damage, and after a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.mapping.classify.cutting import WindowCutter
from fpcn_lightning.field.mapping.classify.grid import CellGrid, WindowGrid
from fpcn_lightning.field.mapping.classify.prediction_store import WindowPredictions
from fpcn_lightning.field.mapping.classify.windows import predict_windows
from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.model import BundleModel, ModelOutputs
from tests.field.conftest import SIDE

TILED: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "compression": "zlib", "metadata": None}
ARRAYS = ("probabilities", "scores", "coverage")

Pixels = NDArray[np.uint8]


def clouds(height: int, width: int, step: int = 10) -> Pixels:
    """ColourConversion that change within about `step` pixels."""
    rough = np.random.default_rng(0).integers(0, 256, (height // step + 2, width // step + 2, 3), np.uint8)
    return np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def model(bundle_folder: Path) -> BundleModel:
    return BundleModel(read_bundle(bundle_folder), threads=1)


def write(path: Path, picture: Pixels) -> Path:
    tifffile.imwrite(path, picture, **TILED)
    return path


def predicted(
    model: BundleModel, path: Path, size: int, stride: int, folder: Path, **options: Any
) -> WindowPredictions:
    with SectionFile(path) as section:
        windows = WindowGrid(section.height, section.width, size, stride)
        return predict_windows(model, section, windows, folder, **options)


def by_hand(model: BundleModel, picture: Pixels, windows: WindowGrid, row: int, column: int) -> ModelOutputs:
    margin = 2 * windows.size
    mirrored = np.pad(picture, ((margin, margin), (margin, margin), (0, 0)), "symmetric")
    box = windows.box(row, column)
    cut = mirrored[box.top + margin : box.bottom + margin, box.left + margin : box.right + margin]
    view = np.asarray(Image.fromarray(cut).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return model(view[None])


@pytest.mark.parametrize("size", [SIDE, 50, 20])
@pytest.mark.parametrize("workers", [1, 3])
def test_the_network_sees_the_pixels_of_windows(model: BundleModel, tmp_path: Path, size: int, workers: int) -> None:
    picture = clouds(130, 171)
    result = predicted(model, write(tmp_path / "s.tif", picture), size, size // 2, tmp_path / "store", workers=workers)
    windows = result.windows
    for row in range(windows.rows):
        for column in range(windows.columns):
            expected = by_hand(model, picture, windows, row, column)
            np.testing.assert_allclose(result.probabilities[row, column], expected.probabilities[0], atol=1e-6)
            np.testing.assert_allclose(result.scores[row, column], expected.score[0], atol=1e-6)
    assert result.coverage.all()
    assert result.damaged == 0


def test_a_picture_smaller_than_a_window_is_mirrored_all_around(model: BundleModel, tmp_path: Path) -> None:
    picture = clouds(10, 40)
    result = predicted(model, write(tmp_path / "s.tif", picture), SIDE, 16, tmp_path / "store")
    expected = by_hand(model, picture, result.windows, 0, 1)
    np.testing.assert_allclose(result.probabilities[0, 1], expected.probabilities[0], atol=1e-6)


@pytest.mark.parametrize(("pyramid", "size"), [(True, 4 * SIDE), (False, 13 * SIDE)], ids=("pyramid", "blocks"))
def test_large_windows_are_read_from_smaller_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pyramid: bool, size: int
) -> None:
    levels: set[int] = set()
    read = SectionFile.read

    def noted(section: SectionFile, top: int, left: int, height: int, width: int, level: int = 0) -> Any:
        levels.add(level)
        return read(section, top, left, height, width, level)

    monkeypatch.setattr(SectionFile, "read", noted)
    picture, path = clouds(900, 1000, step=100), tmp_path / "s.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(picture, subifds=2 if pyramid else 0, **TILED)
        for step in (2, 4) if pyramid else ():
            file.write(np.asarray(Image.fromarray(picture).reduce(step)), subfiletype=1, **TILED)
    windows = WindowGrid(900, 1000, size, size // 2)
    with SectionFile(path) as section:
        cutter = WindowCutter(section, windows, CellGrid(900, 1000, size // 16), SIDE)
        (chunk,) = windows.chunks(1, 100)
        views = cutter.cut(chunk).views
    assert levels == ({2} if pyramid else {0})
    mirrored = np.pad(picture, ((size, size), (size, size), (0, 0)), "symmetric")
    for column, view in enumerate(views):
        box = windows.box(1, column)
        part = mirrored[box.top + size : box.bottom + size, box.left + size : box.right + size]
        expected = np.asarray(Image.fromarray(part).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
        shifted = np.abs(np.roll(expected, 1, axis=0).astype(int) - expected).mean()  # by one of the network's pixels
        assert np.abs(view.astype(int) - expected).mean() < shifted / 2


def test_damaged_tiles_are_no_data(model: BundleModel, tmp_path: Path) -> None:
    picture = np.zeros((192, 192, 3), np.uint8)
    picture[..., 0] = 200
    path = write(tmp_path / "s.tif", picture)
    with tifffile.TiffFile(path) as file:
        offset = file.pages.first.dataoffsets[4]  # the middle one of nine
    data = bytearray(path.read_bytes())
    data[offset : offset + 20] = bytes(20)
    path.write_bytes(data)
    result = predicted(model, path, SIDE, 16, tmp_path / "store")
    lost = np.zeros((12, 12), bool)
    lost[4:8, 4:8] = True
    np.testing.assert_array_equal(np.isnan(result.probabilities).all(-1), lost)
    np.testing.assert_array_equal(np.isnan(result.scores), lost)
    covered = np.ones((96, 96), bool)
    covered[32:64, 32:64] = False
    np.testing.assert_array_equal(result.coverage, covered)
    assert result.damaged == 1
    # The prediction of a window with some damage is as without it.
    np.testing.assert_allclose(result.probabilities[3, 4], result.probabilities[0, 0], atol=1e-6)


SLOW_RUN = """
import sys, time
from pathlib import Path
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.mapping.classify.grid import WindowGrid
from fpcn_lightning.field.mapping.classify.windows import predict_windows
from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.model import BundleModel

class Slow(BundleModel):
    def __call__(self, images):
        time.sleep(0.02)
        return super().__call__(images)

bundle, path, folder = map(Path, sys.argv[1:])
with SectionFile(path) as section:
    windows = WindowGrid(section.height, section.width, 32, 16)
    predict_windows(Slow(read_bundle(bundle), threads=1), section, windows, folder, workers=2)
"""


@pytest.mark.slow
def test_a_killed_run_resumes(model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "s.tif", clouds(480, 480))
    arguments = [sys.executable, "-c", SLOW_RUN, str(model.bundle.folder), str(path), str(tmp_path / "killed")]
    process = subprocess.Popen(arguments)
    done = tmp_path / "killed" / "done.npy"
    until = time.monotonic() + 60
    while time.monotonic() < until and not ((tmp_path / "killed" / "key.json").exists() and np.load(done).sum() >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = int(np.load(done).sum())
    assert 3 <= before < 30
    computed: list[int] = []
    call = BundleModel.__call__

    def counted(model: BundleModel, images: Pixels) -> ModelOutputs:
        computed.append(len(images))
        return call(model, images)

    monkeypatch.setattr(BundleModel, "__call__", counted)
    resumed = predicted(model, path, SIDE, 16, tmp_path / "killed", workers=2)
    assert sum(computed) == (30 - before) * 30
    fresh = predicted(model, path, SIDE, 16, tmp_path / "fresh")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(resumed, name), getattr(fresh, name))


def test_predictions_with_another_key_are_refused(model: BundleModel, tmp_path: Path) -> None:
    path, folder = write(tmp_path / "s.tif", clouds(64, 64)), tmp_path / "store"
    predicted(model, path, SIDE, 16, folder, key={"bits": None})
    predicted(model, path, SIDE, 16, folder, key={"bits": None})
    for size, key, other in ((SIDE, {"bits": 12}, "bits was None and is 12"), (40, {"bits": None}, "side was 32")):
        with pytest.raises(UserError, match=f"of another bundle, section or options.*{other}"):
            predicted(model, path, size, 16, folder, key=key)
    copied = Path(shutil.copy(path, tmp_path / "copied.tif"))
    predicted(model, copied, SIDE, 16, folder, key={"bits": None})
    with copied.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xaa")
    with pytest.raises(UserError, match=r"section or options \(section was"):
        predicted(model, copied, SIDE, 16, folder, key={"bits": None})


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("size", [SIDE, 4 * SIDE])
def test_a_section_that_was_changed_in_its_middle_is_refused(
    model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str | None, size: int
) -> None:
    """Of the whole file, only both ends are hashed; the rest is compared where rows of windows are finished."""
    monkeypatch.setattr("fpcn_lightning.field.mapping.classify.windows._HASHED_BYTES", 64)
    path, folder = tmp_path / "s.tif", tmp_path / "store"
    tifffile.imwrite(path, clouds(512, 256), **(TILED | {"compression": compression}))
    first = predicted(model, path, size, size, folder)
    done = np.load(folder / "done.npy")
    np.save(folder / "done.npy", done & (np.arange(len(done)) < len(done) // 2))
    original = path.read_bytes()

    def resumed_after(changed_at: float) -> WindowPredictions:
        data = bytearray(original)
        data[int(changed_at * len(data))] ^= 255
        path.write_bytes(data)
        return predicted(model, path, size, size, folder, batch_size=3)

    with pytest.raises(UserError, match=r"s\.tif has changed since its map was interrupted.*row [0-9]+.*--overwrite"):
        resumed_after(0.25)
    resumed = resumed_after(0.9)  # where no row is finished
    np.testing.assert_array_equal(first.scores[:1], resumed.scores[:1])


def test_a_picture_that_was_changed_in_its_middle_is_refused(
    model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpcn_lightning.field.mapping.classify.windows._HASHED_BYTES", 4)
    path, folder = tmp_path / "s.bmp", tmp_path / "store"
    Image.fromarray(clouds(64, 64)).save(path)
    predicted(model, path, SIDE, 16, folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"s\.bmp has changed since its map was interrupted"):
        predicted(model, path, SIDE, 16, folder)


def test_damaged_predictions_are_refused(model: BundleModel, tmp_path: Path) -> None:
    path, folder = write(tmp_path / "s.tif", clouds(64, 64)), tmp_path / "store"
    predicted(model, path, SIDE, 16, folder)
    for name, content in (("damaged.json", "[[0, "), ("damaged.json", "[3]"), ("scores.npy", ""), ("key.json", "{")):
        (folder / name).write_text(content)
        with pytest.raises(UserError, match=rf"{name} is damaged"):
            predicted(model, path, SIDE, 16, folder)


def test_a_disk_that_is_too_small_is_noticed_at_the_start(
    model: BundleModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = write(tmp_path / "s.tif", clouds(64, 64)), tmp_path / "store"
    needed = 4 * 4 * (3 + 1) * 4 + 32 * 32 + 4 * 33  # 16 windows of 3 classes and a score, 1024 cells, 4 rows
    for free in (needed - 1, needed):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        if free < needed:
            with pytest.raises(UserError, match="make room"):
                predicted(model, path, SIDE, 16, folder)
            assert list(folder.iterdir()) == []
        else:
            predicted(model, path, SIDE, 16, folder)


def peak_of_rows(path: Path, size: int, rows: int, cache_bytes: int) -> int:
    tracemalloc.start()
    try:
        with SectionFile(path, cache_bytes=cache_bytes) as section:
            windows = WindowGrid(section.height, section.width, size, size // 2)
            cutter = WindowCutter(section, windows, CellGrid(section.height, section.width, size // 16), SIDE)
            for chunk in (chunk for row in range(rows) for chunk in windows.chunks(row, 8)):
                assert len(cutter.cut(chunk).views) == len(chunk.columns)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("length", "size"), [(20_000, 224), (8_000, 8_000)], ids=("many windows", "one window"))
def test_memory_does_not_grow_with_the_section(tmp_path: Path, length: int, size: int) -> None:
    """What is read has 27 MB in the one and 192 MB in the other; all of the first section, 1.2 GB."""
    across = -(-length // 1024)
    present = across * (1 if size == 224 else across)
    tile = np.full((1024, 1024, 3), 90, np.uint8)
    tiles = (tile if number < present else None for number in range(across**2))
    tifffile.imwrite(
        tmp_path / "large.tif",
        tiles,
        shape=(length, length, 3),
        dtype=np.uint8,
        tile=(1024, 1024),
        photometric="rgb",
        compression="zlib",
        metadata=None,
    )
    peak = peak_of_rows(tmp_path / "large.tif", size, rows=2 if size == 224 else 1, cache_bytes=2**24)
    assert peak < 90e6
