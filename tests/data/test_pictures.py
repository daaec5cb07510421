"""Tiles from file to batch to prediction: images of different sizes, of 8 and 16 bits, in one process and in two."""

from collections import Counter
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as lightning
import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.data import pictures as pictures_module
from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.cache import PictureCache
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.data.index import MASKS
from fpcn_lightning.data.lists import read_list
from fpcn_lightning.data.loading import make_loader
from fpcn_lightning.data.pictures import RockPictures
from fpcn_lightning.data.sampler import PADDING, Step
from fpcn_lightning.data.samples import Sample
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.runs.results import read_result
from tests.conftest import composed
from tests.data.test_datamodule import batches, forbidden, noise, prepared, rows
from tests.modules.test_classifier import classifier

CROP, PICTURES = 16, 9
SIZES = ((40, 24), (16, 16), (33, 50), (10, 20))  # width and height; the last is smaller than a tile
TILING = Tiling(crop=CROP, max_tiles=6)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for number, label in enumerate(("basalt", "granite", "marble")):
        for picture in range(PICTURES):
            noise(tmp_path / "set" / label / f"{picture}.png", 100 * number + picture, SIZES[picture % len(SIZES)])
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tiled(root: Path, **changes: Any) -> RockDataModule:
    return prepared(root, **{"tiles": True, "crop": CROP, "max_tiles": 6, "evaluation_batch_size": 13, **changes})


def reference(path: Path, tiling: Tiling = TILING) -> Tensor:
    """The whole image as Pillow alone resizes it to the shape that tiles are cut from, [3, H, W]."""
    picture = Image.open(path).convert("RGB")
    height, width = tiling.shape(picture.height, picture.width)
    pixels = np.array(picture.resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("cache", [{"enabled": True, "max_gigabytes": 1, "directory": None}, {"enabled": False}])
@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_training_sees_the_drawn_tile_of_the_whole_picture(
    photographs: Path, cache: dict[str, Any], scale: float
) -> None:
    data = tiled(photographs, cache=cache, tile_scale=scale)
    tiling = Tiling(crop=CROP, tile_scale=scale)
    loader = data.train_dataloader()
    for epoch in range(2):
        for batch in batches(loader, epoch):
            assert batch.images.shape == (9, 3, CROP, CROP)
            for image, label, position in rows(batch):
                picture = data.index.pictures[position]
                assert data.classes[label] == picture.label
                whole = reference(picture.path, tiling)
                height, width = whole.shape[1:]
                view = tiling.draw((height, width), 0, epoch, int(picture.digest[:16], 16))
                expected = whole[:, view.top : view.top + CROP, view.left : view.left + CROP]
                assert torch.equal(image, expected.flip(2) if view.flipped else expected)


def test_evaluation_sees_every_tile_of_every_picture_once(photographs: Path) -> None:
    data = tiled(photographs)
    assert data.pictures.rows_a_picture == 6
    seen: Counter[int] = Counter()
    for batch in batches(data.test_dataloader()):
        assert len(batch.positions) == 12, "two pictures, since three would be more than 13 rows"
        done: Counter[int] = Counter()
        for image, label, position in rows(batch):
            if position == PADDING:
                assert label == PADDING
                assert not image.any()
                continue
            picture = data.index.pictures[position]
            assert data.classes[label] == picture.label
            whole = reference(picture.path)
            height, width = whole.shape[1:]
            view = TILING.evaluation_views((height, width))[done[position]]
            assert torch.equal(image, whole[:, view.top : view.top + CROP, view.left : view.left + CROP])
            done[position] += 1
        seen += done
    shapes = {position: data.pictures.pictures[position].shape for position in data.split.test}
    assert seen == {position: len(TILING.evaluation_views(shape)) for position, shape in shapes.items()}
    assert len(set(seen.values())) > 1


def test_a_batch_holds_at_least_one_picture(photographs: Path) -> None:
    loader = tiled(photographs, evaluation_batch_size=2).test_dataloader()
    assert {len(batch.positions) for batch in loader} == {6}


def test_the_centre_view_for_figures(photographs: Path) -> None:
    data = tiled(photographs)
    batch = data.pictures.centres((2, 0))
    assert batch.positions.tolist() == [2, 0]
    whole = reference(data.index.pictures[2].path)
    assert torch.equal(batch.images[0], whole[:, 17 : 17 + CROP, 8 : 8 + CROP])
    squashed = prepared(photographs)
    for mine, theirs in zip(squashed.pictures.centres((2, 0)), squashed.pictures[Step(None, (2, 0))], strict=True):
        assert torch.equal(mine, theirs)


def test_workers_change_nothing(photographs: Path) -> None:
    alone, helped = (
        tiled(photographs, brightness=0.3, contrast=0.3),
        tiled(photographs, brightness=0.3, contrast=0.3, workers=2),
    )
    for make in ("train_dataloader", "test_dataloader"):
        pairs = zip(batches(getattr(alone, make)()), batches(getattr(helped, make)()), strict=True)
        assert all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))


def test_brightness_and_contrast_change_training_alone(photographs: Path) -> None:
    plain, changed = tiled(photographs), tiled(photographs, brightness=0.3, contrast=0.3)
    for make, same in (("train_dataloader", False), ("val_dataloader", True)):
        one, other = (batches(getattr(data, make)())[0] for data in (plain, changed))
        assert torch.equal(one.positions, other.positions)
        assert torch.equal(one.images, other.images) is same


def test_a_second_run_decodes_nothing(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one fills the cache with every image that it reads."""

    def everything(data: RockDataModule) -> list[Tensor]:
        return [data.pictures[Step(None, (position,))].images for position in range(len(data.index.pictures))]

    first = everything(tiled(photographs))
    monkeypatch.setattr(ImageReader, "read", forbidden)
    monkeypatch.setattr(pictures_module, "read_resized", forbidden)
    assert all(torch.equal(mine, again) for mine, again in zip(first, everything(tiled(photographs)), strict=True))


def test_other_scales_and_refused_files_have_caches_of_their_own(photographs: Path) -> None:
    (photographs / "granite" / "broken.png").write_text("no picture")
    for scale in (1.0, 0.7, 1.0):
        data = tiled(photographs, tile_scale=scale, max_unreadable_share=0.1)
        assert [refused.name for refused in data.index.refused] == ["granite/broken.png"]
        for position, picture in enumerate(data.index.pictures):
            expected = reference(picture.path, Tiling(crop=CROP, tile_scale=scale))
            assert torch.equal(torch.from_numpy(data.pictures.whole(position).copy()).permute(2, 0, 1), expected)


def test_sixteen_bits_give_what_eight_give(photographs: Path, tmp_path: Path) -> None:
    """257 times a value of 8 bits is the same brightness in 16; the digests differ, so the middle is compared."""
    for path in photographs.rglob("*.png"):
        pixels = np.asarray(Image.open(path)).astype(np.uint16) * 257
        twin = (tmp_path / "deep" / path.relative_to(photographs)).with_suffix(".tif")
        twin.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(twin, pixels, photometric="rgb")
    shallow, deep = tiled(photographs), tiled(tmp_path / "deep")
    for position in range(3 * PICTURES):
        step = Step(None, (position,))
        assert torch.equal(shallow.pictures[step].images, deep.pictures[step].images)


def test_the_true_mask_is_that_of_the_whole_picture(photographs: Path) -> None:
    for path in sorted(photographs.glob("*/*.png")):
        with Image.open(path) as opened:
            width, height = opened.size
        mask = np.zeros((height, width), np.uint8)
        mask[: height // 2] = 255
        place = photographs / MASKS / path.relative_to(photographs)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(place)
    data = tiled(photographs)
    for position, picture in enumerate(data.pictures.pictures):
        mask_found = data.true_mask(position)
        assert mask_found is not None
        if len(TILING.evaluation_views(picture.shape)) > 1:
            assert mask_found.shape == picture.shape
            assert mask_found.mean() == pytest.approx(0.5, abs=0.02)


class WritePredictions(lightning.Callback):
    """Writes the predictions and the metrics of each process to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        module = cast(Classifier, pl_module)
        positions, probabilities, _ = module.predictions["test"]
        predictions = dict(zip(positions.tolist(), probabilities, strict=True))
        torch.save((predictions, module.measured["test"]["plain"]), self.folder / f"{trainer.global_rank}.pt")


def predicted(root: Path, folder: Path, processes: int, **changes: Any) -> tuple[dict[int, Tensor], dict[str, Any]]:
    """The predictions of an untrained network for the test split, the same in all processes."""
    folder.mkdir()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="auto" if processes == 1 else "ddp_spawn",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[WritePredictions(folder)],
    )
    trainer.test(classifier(), tiled(root, **changes), verbose=False)
    left = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(processes)]
    first: tuple[dict[int, Tensor], dict[str, Any]] = left[0]
    for predictions, measured in left[1:]:
        assert measured == first[1]
        assert all(torch.equal(prediction, predictions[position]) for position, prediction in first[0].items())
    return first


@pytest.mark.filterwarnings("ignore")  # Lightning's hints about workers
@torch.no_grad()
def test_one_prediction_a_picture(photographs: Path, tmp_path: Path) -> None:
    data, module = tiled(photographs), classifier().eval()
    predictions, measured = predicted(photographs, tmp_path / "one", 1)
    assert [*predictions] == [*data.split.test]
    assert measured["images"] == len(data.split.test)
    right, losses = 0, []
    for position, prediction in predictions.items():
        picture = data.pictures.pictures[position]
        whole = reference(picture.path)
        views = TILING.evaluation_views(picture.shape)
        tiles = [whole[:, view.top : view.top + CROP, view.left : view.left + CROP] for view in views]
        mean = torch.stack([module(tile[None])[0].softmax(0) for tile in tiles]).mean(0)
        torch.testing.assert_close(prediction, mean, rtol=1e-4, atol=1e-6)
        right += int(mean.argmax()) == picture.label
        losses.append(-mean[picture.label].log())
    assert measured["accuracy"] == right / len(predictions)
    assert measured["loss"] == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_predict_as_one(photographs: Path, tmp_path: Path) -> None:
    alone, measured_alone = predicted(photographs, tmp_path / "one", 1)
    together, measured = predicted(photographs, tmp_path / "two", 2, evaluation_batch_size=6)
    assert together.keys() == alone.keys()
    for position, prediction in alone.items():
        torch.testing.assert_close(together[position], prediction, rtol=1e-5, atol=1e-6)
    assert measured["confusion"] == measured_alone["confusion"]
    assert measured["loss"] == pytest.approx(measured_alone["loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_on_tiles_from_end_to_end_twice_the_same(photographs: Path, tmp_path: Path) -> None:
    seen = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        folder.mkdir()
        words = ("trainer=smoke", "model=plain", "data=folder", f"data.root={photographs}", "callbacks.summary=null")
        tiles = ("data.tiles=true", "data.crop=16", "data.max_tiles=6", "data.brightness=0.2", "data.contrast=0.2")
        run_task(composed(*words, *tiles, "data.evaluation_batch_size=12", f"output={folder}", folder=folder))
        result = read_result(folder / "result.json")
        assert result["status"] == "finished"
        predictions = [row.cells for row in read_list(folder / "test_predictions.csv", ("name",))]
        assert result["metrics"] is not None
        measured = result["metrics"]["test"]["plain"]
        assert measured is not None
        assert len({row["name"] for row in predictions}) == len(predictions) == measured["images"] == 4
        seen.append((result["metrics"], predictions))
    assert seen[0] == seen[1]


# --- the same pixels, faster --------------------------------------------------------------------------------------


def inverted_in_place(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    np.subtract(255, pixels, out=pixels)
    pixels[random.integers(len(pixels))] = 0
    return pixels


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quarter_turns": True},
        {"quarter_turns": True, "crop_scale": (0.5, 2.0)},
        {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
        {"brightness": 0.4, "quarter_turns": True, "crop_scale": (0.7, 1.4), "further": (inverted_in_place,)},
        {"further": (inverted_in_place,)},
    ],
)
def test_batches_hold_what_each_view_alone_shows(
    photographs: Path, tmp_path: Path, options: dict[str, Any], workers: int
) -> None:
    """Mirrored and turned by torch, straight into the batch, and in a worker into shared memory."""
    augmentation = Squashing(resize=24, crop=CROP, mirrored_views=True, **options)
    files = sorted(photographs.rglob("*.png"))
    samples = [Sample(file, 0, row, (24, 24), 100 + row) for row, file in enumerate(files)]
    cache = PictureCache(tmp_path / "cache" / "pictures.uint8", [(24, 24)] * len(files), 1)
    pictures = RockPictures(samples, augmentation, 7, cache)
    positions = (*range(len(files)), PADDING)
    steps = [Step(epoch, positions) for epoch in (0, 1, None)]
    before = [pictures.whole(position).copy() for position in range(len(files))]
    for step, batch in zip(steps, make_loader(pictures, steps, workers, 1), strict=True):
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.is_shared() == (workers > 0)
        expected = []
        for position, whole in enumerate(before):
            shape = whole.shape[:2]
            evaluation = augmentation.evaluation_views(shape)
            drawn = () if step.epoch is None else (augmentation.draw(shape, 7, step.epoch, 100 + position),)
            expected += [augmentation.seen(whole, view) for view in drawn or evaluation]
        padding = len(batch.images) - len(expected)
        assert padding == (2 if step.epoch is None else 1)
        np.testing.assert_array_equal(batch.images[:-padding].permute(0, 2, 3, 1), np.stack(expected))
        assert not batch.images[-padding:].any()
    for position, whole in enumerate(before):
        np.testing.assert_array_equal(pictures.whole(position), whole, "a view changed the cache")
