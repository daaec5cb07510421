import base64
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tifffile
from PIL import Image

from fpcn_lightning.data.images import ImageLimits, ImageReader
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.serving.about import about
from fpcn_lightning.field.serving.pictures import LIMITS, PictureResult, classify_upload, csv_of, display_name
from fpcn_lightning.field.serving.verdict import State
from tests.field.conftest import MakeBundle, colour_network, paint

CARD = """\
# rocks

**Not intended for** decisions about
safety; `unknown` catches a part.

## Data

- photographs: index.csv; 18 to train, 6 to validate, 25 to test
"""


@pytest.fixture
def model(bundle_folder: Path) -> BundleModel:
    return BundleModel(read_bundle(bundle_folder))


def shown(model: BundleModel, path: Path, limits: ImageLimits = LIMITS) -> PictureResult:
    with ImageReader(limits) as reader:
        return classify_upload(model, reader, path, path.name)


def decoded(uri: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"), validate=True)
    return np.asarray(Image.open(io.BytesIO(data)))


def without_map() -> onnx.ModelProto:
    network = colour_network()
    del network.graph.output[2]
    return network


def test_the_csv_has_the_predictions_with_state_and_plausible_classes(model: BundleModel, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    olive = (140, 125, 20)
    paths = [paint(tmp_path / "red.png"), paint(tmp_path / "grey.png", (128, 128, 128)), text]
    rows = list(
        csv.DictReader(
            io.StringIO(csv_of([shown(model, path) for path in [*paths, paint(tmp_path / "olive.png", olive)]], model))
        )
    )
    assert [row["path"] for row in rows] == ["red.png", "grey.png", "notes.jpg", "olive.png"]
    assert [row["state"] for row in rows] == ["sure", "unknown", "unreadable", "doubtful"]
    assert [row["prediction_set"] for row in rows] == ["red", "red; green; blue", "", "red; green"]
    assert [row["class_1"] for row in rows] == ["red", "red", "", "red"]
    assert rows[2]["error"] == "this is no picture of a known format"


def test_the_heat_map_shows_where_the_colour_is(model: BundleModel, tmp_path: Path) -> None:
    path = paint(tmp_path / "corner.png", (60, 60, 60), (80, 40))
    with Image.open(path) as picture:
        picture.paste((255, 0, 0), (60, 0, 80, 20))
        picture.save(path)
    result = shown(model, path)
    assert result.top[0].name == "red"
    picture_, heat = decoded(result.picture), decoded(result.heat)
    assert picture_.shape == heat.shape == (320, 640, 3)
    hot, cold = heat[10:110, 520:630].mean((0, 1)), heat[220:310, 10:200].mean((0, 1))
    yellow, violet = np.array((253, 231, 37)), np.array((68, 1, 84))
    assert np.abs(hot - yellow).sum() < np.abs(hot - violet).sum()
    assert np.abs(cold - violet).sum() < np.abs(cold - yellow).sum()


@pytest.mark.parametrize("kind", ["squashing", "cropping", "letterboxing"])
@pytest.mark.parametrize("size", [(128, 64), (64, 128)], ids=["wide", "tall"])
def test_heat_and_object_lie_on_the_photograph(
    make_bundle: MakeBundle, tmp_path: Path, kind: str, size: tuple[int, int]
) -> None:
    """Something red in a dark photograph that is no square."""
    views = {"kind": kind, "resize": 64, "side": 64, **({"fill": [40, 40, 40]} if kind == "letterboxing" else {})}
    network = colour_network(side=64, masked=True)
    model = BundleModel(read_bundle(make_bundle(model=network, object_mask=True, views=views)))
    red = (48, 16, 80, 48) if size[0] > size[1] else (16, 48, 48, 80)  # left, top, right, bottom
    path = paint(tmp_path / "dark.png", (40, 40, 40), size)
    with Image.open(path) as picture:
        picture.paste((255, 0, 0), red)
        picture.save(path)
    result = shown(model, path)
    heat, located = decoded(result.heat).astype(int), decoded(result.located).astype(int)
    assert heat.shape == located.shape == (size[1] * 5, size[0] * 5, 3)
    inside = np.zeros(heat.shape[:2], bool)
    inside[red[1] * 5 : red[3] * 5, red[0] * 5 : red[2] * 5] = True
    bright_red = (located[..., 0] > 180) & (located[..., 1] < 90)
    assert (bright_red & inside).sum() > 0.85 * inside.sum()  # the corners are rounded
    assert not (bright_red & ~inside).any()
    yellow = np.abs(heat - (253, 231, 37)).sum(2) < 260
    assert (yellow & inside).sum() > 0.8 * yellow.sum() > 0
    seen = heat.max(2) - heat.min(2) > 25  # in colour, where the network looked
    if kind == "cropping":  # the middle square
        side = 64 * 5
        middle = (slice(None), slice(160, 160 + side)) if size[0] > size[1] else (slice(160, 160 + side), slice(None))
        expected = np.zeros_like(seen)
        expected[middle] = True
        assert (seen == expected).mean() > 0.97
    else:
        assert seen.mean() > 0.97


def test_a_bundle_without_activation_map_shows_the_picture_alone(make_bundle: MakeBundle, tmp_path: Path) -> None:
    model = BundleModel(read_bundle(make_bundle(activation_map=False, model=without_map())))
    result = shown(model, paint(tmp_path / "red.png"))
    assert result.picture
    assert not result.heat


def test_tiles_are_shown_on_the_whole_picture(make_bundle: MakeBundle, tmp_path: Path) -> None:
    views = {"kind": "tiling", "tile_scale": 1.0, "most_tiles": 4, "side": 32}
    model = BundleModel(read_bundle(make_bundle(views=views)))
    heat = decoded(shown(model, paint(tmp_path / "red.png", size=(64, 32))).heat).astype(int)
    assert heat.shape == (320, 640, 3)
    assert (heat.max(2) - heat.min(2)).min() > 50  # colour everywhere, grey nowhere


@pytest.mark.parametrize("tiled", [False, True])
def test_the_located_object_is_shown_on_the_whole_picture(tiled: bool, make_bundle: MakeBundle, tmp_path: Path) -> None:
    views = {"kind": "tiling", "tile_scale": 1.0, "most_tiles": 4, "side": 32} if tiled else {}
    network = colour_network(masked=True)
    model = BundleModel(
        read_bundle(make_bundle(model=network, object_mask=True, **({"views": views} if tiled else {})))
    )
    path = paint(tmp_path / "right.png", (60, 60, 60), (64, 32))
    with Image.open(path) as picture:
        picture.paste((255, 0, 0), (32, 0, 64, 32))
        picture.save(path)
    located = decoded(shown(model, path).located).astype(int)
    assert located.shape == (320, 640, 3)
    assert np.abs(located[20:300, 400:620].mean((0, 1)) - (255, 0, 0)).max() < 30
    assert located[20:300, 20:240].max() < 60


def test_a_bundle_without_object_mask_shows_no_object(model: BundleModel, tmp_path: Path) -> None:
    assert shown(model, paint(tmp_path / "red.png")).located == ""


def test_system_files_of_a_dropped_folder_are_named(model: BundleModel, tmp_path: Path) -> None:
    result = shown(model, paint(tmp_path / "._red.png"))
    assert result.verdict.state == State.UNREADABLE
    assert "a hidden file or one of the operating system" in str(result.error)


def test_too_many_pixels_are_refused_before_decoding(model: BundleModel, tmp_path: Path) -> None:
    path = paint(tmp_path / "red.bmp")
    header = bytearray(path.read_bytes())
    header[18:26] = (20_000).to_bytes(4, "little") * 2
    path.write_bytes(header)
    assert "limit of 120 megapixels" in str(shown(model, path).error)


def test_too_many_pixels_of_a_kind_that_pillow_does_not_read_are_refused(model: BundleModel, tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    tifffile.imwrite(path, np.ones((20, 20, 3), np.float32), photometric="rgb")
    assert shown(model, path).verdict.state != State.UNREADABLE
    result = shown(model, path, ImageLimits(megapixels=399e-6))
    assert result.verdict.state == State.UNREADABLE
    assert "megapixels" in str(result.error)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("/etc/passwd", "passwd"),
        (r"C:\photographs\a.jpg", "a.jpg"),
        ("\x1b[2Ja.jpg", "?[2Ja.jpg"),
        ("", "photograph"),
        ("x" * 500, "x" * 200 + "…"),
    ],
)
def test_names_are_shown_without_folders_and_control_characters(sent: str, name: str) -> None:
    assert display_name(sent) == name


def test_the_page_states_what_the_card_states(bundle_folder: Path) -> None:
    (bundle_folder / "card.md").write_text(CARD, encoding="utf-8")
    facts = about(BundleModel(read_bundle(bundle_folder)))
    assert facts.not_intended == "decisions about safety; 'unknown' catches a part."
    assert facts.counts is not None
    assert (facts.counts.train, facts.counts.test) == (18, 25)
    assert facts.standard_error == pytest.approx(0.06)  # of 90 %


def test_the_page_counts_photographs_by_class(make_bundle: MakeBundle) -> None:
    folder = make_bundle(photographs={"train": [12, 7, 3], "val": [1, 2, 3], "test": [20, 0, 5]})
    (folder / "card.md").write_text(CARD, encoding="utf-8")
    facts = about(BundleModel(read_bundle(folder)))
    assert facts.trained_with == (12, 7, 3)
    assert facts.counts is not None
    assert (facts.counts.train, facts.counts.val, facts.counts.test) == (22, 6, 25)


def test_a_bundle_of_an_earlier_version_states_no_counts_by_class(model: BundleModel) -> None:
    assert about(model).trained_with == ()


def test_a_bundle_without_card_has_facts(bundle_folder: Path) -> None:
    (bundle_folder / "card.md").unlink()
    facts = about(BundleModel(read_bundle(bundle_folder)))
    assert facts.counts is None
    assert "safety" in facts.not_intended
