"""From files to predictions: the same pixels as in training, one prediction per file, in order, for any content."""

import shutil
import struct
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import open_image
from fpcn_lightning.data.pictures import RockPictures
from fpcn_lightning.data.sampler import Step
from fpcn_lightning.data.samples import Sample
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import Prediction, classify, classify_file
from fpcn_lightning.field.model import BundleModel, ModelOutputs
from tests.field.conftest import COLOURS, SIDE, MakeBundle, paint

TILES = {"kind": "tiling", "side": SIDE, "tile_scale": 0.75, "most_tiles": 6}
CROPPED = {"kind": "cropping", "side": SIDE, "resize": 40}
LETTERBOXED = {"kind": "letterboxing", "side": SIDE, "resize": 40, "fill": [9, 99, 199]}


class RecordingModel(BundleModel):
    """Records its inputs."""

    seen: list[NDArray[np.uint8]]

    def __call__(self, images: NDArray[np.uint8]) -> ModelOutputs:
        self.seen = [*getattr(self, "seen", []), images]
        return super().__call__(images)


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Noise of several shapes, as JPEG, which loses a little, and large enough to be decoded at half its size."""
    random = np.random.default_rng(5)
    paths = []
    for number, shape in enumerate([(300, 200), (90, 400), (20, 20), (64, 64)]):
        pixels = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        paths.append(tmp_path / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def probabilities(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    exponentials = np.exp(8 * pixels.mean((0, 1)) / 255)
    return np.asarray(exponentials / exponentials.sum())


@pytest.mark.parametrize(
    "views", [None, CROPPED, LETTERBOXED, TILES], ids=["squashing", "cropping", "letterboxing", "tiling"]
)
def test_the_network_sees_the_same_views_as_in_testing(
    make_bundle: MakeBundle, photographs: list[Path], views: dict[str, object] | None
) -> None:
    bundle = read_bundle(make_bundle(**({"views": views} if views else {})))
    model = RecordingModel(bundle)
    predictions = list(classify(model, photographs, batch_size=4))
    shapes = [bundle.views.shape(*open_image(path).shape[:2]) for path in photographs]
    pictures = [Sample(path, 0, 0, shape, 0) for path, shape in zip(photographs, shapes, strict=True)]
    batch = RockPictures(pictures, bundle.views, 0, None)[Step(None, tuple(range(len(pictures))))]
    trained = batch.images.permute(0, 2, 3, 1).numpy()[batch.positions.numpy() >= 0]
    np.testing.assert_array_equal(np.concatenate(model.seen), trained)
    assert max(len(images) for images in model.seen) == 4
    assert [prediction.viewed.shape for prediction in predictions if prediction.viewed] == shapes


def test_tiles_of_a_picture_are_averaged(make_bundle: MakeBundle, tmp_path: Path) -> None:
    pixels = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    pixels[:, :SIDE], pixels[:, SIDE:] = COLOURS["red"], COLOURS["blue"]
    Image.fromarray(pixels).save(tmp_path / "two.png")
    paths = [paint(tmp_path / "green.png", "green", (SIDE, SIDE)), tmp_path / "two.png"]
    model = BundleModel(read_bundle(make_bundle(views={**TILES, "tile_scale": 1})))
    _, prediction = classify(model, paths)
    tiles = [probabilities(pixels[:, :SIDE]), probabilities(pixels[:, SIDE:])]
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities, np.mean(tiles, 0), atol=1e-6)
    assert prediction.score == pytest.approx(np.mean([tile.max() for tile in tiles]))
    assert prediction.viewed is not None
    assert [(view.top, view.left) for view in prediction.viewed.views] == [(0, 0), (0, SIDE)]
    assert prediction.viewed.activation_maps is not None
    assert prediction.viewed.activation_maps.sum((2, 3)).argmax(1).tolist() == [0, 2]


def same(left: Prediction, right: Prediction) -> bool:
    if left.probabilities is None or right.probabilities is None:
        return left == right
    return left.path == right.path and np.allclose(left.probabilities, right.probabilities, atol=1e-6)


@pytest.mark.parametrize("views", [None, TILES], ids=["squashing", "tiling"])
def test_batches_and_threads_change_no_prediction(
    make_bundle: MakeBundle, photographs: list[Path], tmp_path: Path, views: dict[str, object] | None
) -> None:
    model = BundleModel(read_bundle(make_bundle(**({"views": views} if views else {}))))
    paths = [tmp_path / "missing.png", *photographs, tmp_path / "gone.png", *photographs]
    alone = [classify_file(model, path) for path in paths]
    for batch_size, workers in ((1, 1), (3, 4), (100, 2)):
        predictions = list(classify(model, paths, batch_size=batch_size, workers=workers))
        assert all(map(same, predictions, alone))
        assert len(predictions) == len(paths)


def huge_header() -> bytes:
    """A PNG of a few bytes that says it has 10^10 pixels."""
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(b"\0"),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )


def test_unreadable_files_are_listed_with_the_reason(bundle_folder: Path, tmp_path: Path) -> None:
    good = paint(tmp_path / "good.png")
    contents = {"text.jpg": b"granite", "empty.jpg": b"", "huge.png": huge_header(), "torn.png": good.read_bytes()[:60]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    bad = [*(tmp_path / name for name in contents), tmp_path, tmp_path / "missing.jpg", tmp_path / "null\0.jpg"]
    model = BundleModel(read_bundle(bundle_folder))
    predictions = list(classify(model, [*bad, good], batch_size=2))
    assert [prediction.path for prediction in predictions] == [*bad, good]
    assert all(
        prediction.error and prediction.probabilities is None and prediction.unknown is None
        for prediction in predictions[:-1]
    )
    assert predictions[-1].error is None
    assert "100000 x 100000" in str(predictions[2].error)


def test_a_line_of_pixels_is_not_enlarged_without_limit(make_bundle: MakeBundle, tmp_path: Path) -> None:
    path = paint(tmp_path / "line.png", "red", (300_000, 1))
    prediction = classify_file(BundleModel(read_bundle(make_bundle(views=TILES))), path)
    assert "are more than the limit of 120 megapixels" in str(prediction.error)


def test_pictures_unlike_the_trained_ones_are_unknown(bundle_folder: Path, tmp_path: Path) -> None:
    model = BundleModel(read_bundle(bundle_folder))
    paths = [paint(tmp_path / "red.png", "red"), paint(tmp_path / "grey.png", (90, 90, 90))]
    assert [prediction.unknown for prediction in classify(model, paths)] == [False, True]


def test_prediction_sets_include_what_cannot_be_ruled_out(bundle_folder: Path, tmp_path: Path) -> None:
    model = BundleModel(read_bundle(bundle_folder))
    path = paint(tmp_path / "between.png", (180, 170, 20))
    expected = probabilities(open_image(path))
    sets = {coverage: classify_file(model, path, coverage=coverage).prediction_set for coverage in (None, 0.9, 0.99)}
    assert 0.4 < expected[1] < expected[0]
    assert sets == {None: None, 0.9: ("red", "green"), 0.99: ("red", "green", "blue")}


def test_a_coverage_that_the_bundle_does_not_have_is_refused(bundle_folder: Path) -> None:
    with pytest.raises(UserError, match="coverage"):
        classify(BundleModel(read_bundle(bundle_folder)), [], coverage=0.5)


def test_nan_is_no_prediction(bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = BundleModel(read_bundle(bundle_folder))
    monkeypatch.setattr(model, "_session", Broken())
    assert "NaN or infinite" in str(classify_file(model, paint(tmp_path / "red.png")).error)


class Broken:
    """A network whose weights are not finite."""

    def run(self, names: list[str], feeds: dict[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        rows = len(feeds["images"])
        return [np.full(shape, np.nan, np.float32) for shape in ((rows, 3), (rows,), (rows, 3, 4, 4))]


def test_paths_are_consumed_lazily(bundle_folder: Path, tmp_path: Path) -> None:
    path = paint(tmp_path / "red.png")
    taken: list[int] = []

    def endless() -> Iterator[Path]:
        for number in count():
            taken.append(number)
            yield path

    predictions = classify(BundleModel(read_bundle(bundle_folder)), endless(), batch_size=4, workers=2)
    for _ in range(20):
        next(predictions)
    assert 20 <= len(taken) <= 20 + 2 * 4


@pytest.mark.parametrize("score", ["energy", "probability", "feature distance"])
def test_bundles_keep_the_rule_that_they_were_exported_with(
    make_bundle: MakeBundle, tmp_path: Path, score: str
) -> None:
    """The score is computed in the graph: its name is for people, and earlier ones are read with their threshold."""
    lowest = float(probabilities(np.full((1, 1, 3), 128)).max())
    paths = [paint(tmp_path / "grey.png", (128, 128, 128)), paint(tmp_path / "red.png", "red")]
    for threshold, expected in ((lowest - 0.01, [False, False]), (lowest + 0.01, [True, False])):
        folder = make_bundle(score=score, file={"threshold": threshold})
        model = BundleModel(read_bundle(folder))
        assert [prediction.unknown for prediction in classify(model, paths, workers=1)] == expected
        shutil.rmtree(folder)
