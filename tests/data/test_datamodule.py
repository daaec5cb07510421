"""From files to batches: the right pixels under the right label, each file in one split, and no damaged file."""

import csv
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import functional as reference

from fpcn_lightning.config import CONF, DataConfig
from fpcn_lightning.data import datamodule as datamodule_module
from fpcn_lightning.data import pictures as pictures_module
from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.data.index import SPLITS
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING, BalancedBatches, EveryImageOnce
from fpcn_lightning.errors import UserError
from fpcn_lightning.plain_config import from_plain

RESIZE, CROP = 24, 16
SIZES = {"basalt": 14, "granite": 9, "marble": 10}
SYNTHETIC = {"images_per_class": 12, "size": 32, "seed": 0, "shortcut": False}


def noise(path: Path, seed: int, size: tuple[int, int] = (30, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, format="PNG")
    return path


def folder_of_rocks(root: Path, sizes: dict[str, int] = SIZES) -> Path:
    for number, (label, size) in enumerate(sizes.items()):
        for picture in range(size):
            noise(root / label / f"{picture:02}.png", 100 * number + picture)
    return root


@pytest.fixture
def rocks(tmp_path: Path) -> Path:
    return folder_of_rocks(tmp_path / "rocks")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may land in the checkout or in the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def section(root: Path | None, **changes: Any) -> DataConfig:
    """A small section `data`; the changes are plain data, as in a yaml file."""
    options = {"resize": RESIZE, "crop": CROP, "samples_per_class": 3, "epoch_length": 4, "evaluation_batch_size": 5}
    return from_plain(DataConfig, {**options, "root": str(root) if root else None, **changes}, "data")


def unprepared(root: Path | None, seed: int = 0, **changes: Any) -> RockDataModule:
    return RockDataModule(section(root, **changes), seed=seed)


def prepared(root: Path | None, **changes: Any) -> RockDataModule:
    data = unprepared(root, **changes)
    data.setup()
    return data


def of_a_checkpoint(root: Path, classes: Sequence[str], *, only_test: bool) -> RockDataModule:
    """With the classes of a checkpoint."""
    data = RockDataModule(section(root), seed=0, classes=classes, only_test=only_test)
    data.setup()
    return data


def batches(loader: DataLoader[Batch], epoch: int = 0) -> list[Batch]:
    if isinstance(loader.sampler, BalancedBatches):
        loader.sampler.set_epoch(epoch)
    return list(loader)


def rows(batch: Batch) -> Iterator[tuple[Tensor, int, int]]:
    yield from zip(batch.images, batch.labels.tolist(), batch.positions.tolist(), strict=True)


def squashed(path: Path) -> Tensor:
    """The reference: Pillow's own resize of a file without orientation or alpha, [3, RESIZE, RESIZE]."""
    picture = Image.open(path).convert("RGB").resize((RESIZE, RESIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def forbidden(*_: object, **__: object) -> NoReturn:
    raise AssertionError("a picture was decoded again")


def names_in(data: RockDataModule, split: str) -> list[str]:
    return [data.index.pictures[position].name for position in getattr(data.split, split)]


def assert_layout(batch: Batch, size: int) -> None:
    assert batch.images.shape == (size, 3, CROP, CROP)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert not batch.images.is_contiguous()
    assert batch.labels.dtype == batch.positions.dtype == torch.int64
    assert batch.labels.shape == batch.positions.shape == (size,)


@pytest.mark.parametrize("cache", [{"enabled": True, "max_gigabytes": 1, "directory": None}, {"enabled": False}])
def test_training_batches(rocks: Path, cache: dict[str, Any]) -> None:
    """Every row: the file's own pixels, its folder's label, the view of its key, and balance."""
    data = prepared(rocks, cache=cache)
    loader, augmentation = data.train_dataloader(), Squashing(resize=RESIZE, crop=CROP)
    drawn = set()
    for epoch in range(2):
        steps = batches(loader, epoch)
        assert len(steps) == len(loader) == 4
        for batch in steps:
            assert_layout(batch, 9)
            assert Counter(batch.labels.tolist()) == {0: 3, 1: 3, 2: 3}
            for image, label, position in rows(batch):
                path = data.index.pictures[position].path
                assert data.classes[label] == path.parent.name
                view = augmentation.draw((RESIZE, RESIZE), 0, epoch, int(data.index.pictures[position].digest[:16], 16))
                expected = reference.crop(squashed(path), view.top, view.left, CROP, CROP)
                torch.testing.assert_close(image, reference.hflip(expected) if view.flipped else expected)
                drawn.add(position)
    assert drawn == set(data.split.train)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_sees_every_picture_once_and_its_centre(rocks: Path, split: str) -> None:
    data = prepared(rocks)
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    seen = []
    for batch in batches(loader):
        assert_layout(batch, 5)
        for image, label, position in rows(batch):
            if position == PADDING:
                assert label == PADDING
                assert not image.any()
                continue
            path = data.index.pictures[position].path
            assert data.classes[label] == path.parent.name
            torch.testing.assert_close(image, reference.center_crop(squashed(path), [CROP, CROP]))
            seen.append(position)
    assert sorted(seen) == list(getattr(data.split, split))
    assert seen


def test_splits_are_disjoint_and_complete(rocks: Path) -> None:
    data = prepared(rocks)
    splits = [set(getattr(data.split, split)) for split in SPLITS]
    assert set.union(*splits) == set(range(sum(SIZES.values())))
    assert sum(len(split) for split in splits) == sum(SIZES.values())
    assert prepared(rocks).split == data.split
    assert prepared(rocks, seed=99).split == data.split, "the run's seed decides views and order, not the split"


def test_views_and_order_follow_the_seed(rocks: Path) -> None:
    mine, theirs = (batches(prepared(rocks, seed=seed).train_dataloader())[0] for seed in (0, 1))
    assert not torch.equal(mine.positions, theirs.positions)


def test_workers_change_nothing(rocks: Path) -> None:
    alone, helped = prepared(rocks), prepared(rocks, workers=2)
    for make in ("train_dataloader", "val_dataloader", "test_dataloader"):
        one, two = getattr(alone, make)(), getattr(helped, make)()
        for epoch in range(2):
            for mine, theirs in zip(batches(one, epoch), batches(two, epoch), strict=True):
                assert_layout(theirs, len(mine.labels))
                assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_second_setup_and_a_second_run_decode_nothing(rocks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = unprepared(rocks)
    data.prepare_data()
    first = batches(data.train_dataloader())
    monkeypatch.setattr(ImageReader, "read", forbidden)
    monkeypatch.setattr(pictures_module, "read_resized", forbidden)
    pictures = data.pictures
    with monkeypatch.context() as patch:
        patch.setattr(datamodule_module, "find", forbidden)
        for stage in ("fit", "test", None):
            data.setup(stage)
    assert data.pictures is pictures
    for mine, again in zip(first, batches(prepared(rocks).train_dataloader()), strict=True):
        assert torch.equal(mine.images, again.images)


def test_a_changed_picture_is_seen(rocks: Path) -> None:
    prepared(rocks)
    changed = noise(rocks / "basalt" / "00.png", 999, size=(31, 21))
    data = prepared(rocks)
    pixels = torch.from_numpy(data.pictures.whole(0)).permute(2, 0, 1)
    assert data.index.pictures[0].path == changed
    torch.testing.assert_close(pixels, squashed(changed))


def test_a_cache_of_some_pictures(rocks: Path, caplog: pytest.LogCaptureFixture) -> None:
    bound = {"enabled": True, "max_gigabytes": 4.5 * (RESIZE * RESIZE * 3 + 8) / 1e9, "directory": None}
    bounded, whole = prepared(rocks, cache=bound), prepared(rocks)
    assert "holds 4 of 33 pictures" in caplog.text
    for mine, theirs in zip(batches(bounded.test_dataloader()), batches(whole.test_dataloader()), strict=True):
        assert torch.equal(mine.images, theirs.images)


def test_no_cache_leaves_no_file(rocks: Path, tmp_path: Path) -> None:
    prepared(rocks, cache={"enabled": False})
    assert not (tmp_path / "cache").exists()


def test_without_a_writable_cache_the_run_continues(rocks: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the file of pixels nor the memo may stop the run."""
    in_the_way = rocks / "basalt" / "00.png"
    data = prepared(rocks, cache={"enabled": True, "max_gigabytes": 1, "directory": str(in_the_way)})
    assert "pictures are decoded each time" in caplog.text
    assert len(batches(data.train_dataloader())) == 4


def test_a_file_that_vanishes_is_named(rocks: Path) -> None:
    data = prepared(rocks, cache={"enabled": False})
    gone = data.index.pictures[data.split.test[0]].path
    gone.unlink()
    with pytest.raises(UserError, match=rf"{gone} .*there is no such file"):
        batches(data.test_dataloader())


def test_loaders_need_setup(rocks: Path) -> None:
    with pytest.raises(RuntimeError, match="setup"):
        unprepared(rocks).train_dataloader()


def test_imposed_classes_number_the_labels(rocks: Path) -> None:
    wanted = ("slate", "marble", "basalt", "granite")
    data = of_a_checkpoint(rocks, wanted, only_test=True)
    assert data.classes == wanted
    for batch in batches(data.test_dataloader()):
        for _, label, position in rows(batch):
            if position != PADDING:
                assert wanted[label] == data.index.pictures[position].path.parent.name


def test_a_class_that_the_checkpoint_does_not_know(rocks: Path) -> None:
    with pytest.raises(UserError, match=r"rocks has the classes granite, .*knows basalt, marble"):
        of_a_checkpoint(rocks, ("basalt", "marble"), only_test=True)


def test_training_needs_every_imposed_class(rocks: Path) -> None:
    data = of_a_checkpoint(rocks, ("basalt", "granite", "marble", "slate"), only_test=False)
    with pytest.raises(UserError, match="class number 3 has no training image"):
        data.train_dataloader()


def test_only_test_needs_no_split(rocks: Path) -> None:
    """`task=evaluate` on another folder makes no split, and two images of a class are enough."""
    for label in SIZES:
        for number in range(2, SIZES[label]):
            (rocks / label / f"{number:02}.png").unlink()
    data = of_a_checkpoint(rocks, tuple(SIZES), only_test=True)
    assert data.split.test == tuple(range(6))
    assert data.split.train == data.split.val == ()
    positions = torch.cat([batch.positions for batch in batches(data.test_dataloader())])
    assert positions[positions != PADDING].tolist() == [*range(6)]


def test_published_folders(tmp_path: Path) -> None:
    root = tmp_path / "published"
    folder_of_rocks(root / "Training_Set", {"basalt": 12, "granite": 12})
    for number in range(6):
        noise(root / "Testing_Set" / ("basalt", "granite")[number % 2] / f"{number}.png", 1000 + number)
    noise(root / "Elsewhere" / "slate" / "0.png", 5000)
    places = {"train": "Training_Set", "test": "Testing_Set"}
    data = prepared(root, split={"val": 0.2, "test": 0.2, "published": places})
    assert data.classes == ("basalt", "granite")
    assert sorted(names_in(data, "test")) == sorted(
        f"Testing_Set/{('basalt', 'granite')[number % 2]}/{number}.png" for number in range(6)
    )
    assert all(name.startswith("Training_Set/") for name in names_in(data, "train") + names_in(data, "val"))
    assert len(data.split.train) + len(data.split.val) == 24


def test_a_csv_with_groups(rocks: Path, tmp_path: Path) -> None:
    lines = [
        f"{path.relative_to(tmp_path).as_posix()},{path.parent.name},{path.parent.name} {int(path.stem) // 2}"
        for path in sorted(rocks.rglob("*.png"))
    ]
    (tmp_path / "rocks.csv").write_text("\n".join(["path,label,group", *lines]))
    data = prepared(tmp_path / "rocks.csv")
    groups = [{data.index.pictures[position].group for position in getattr(data.split, split)} for split in SPLITS]
    assert sum(len(split) for split in groups) == len(set.union(*groups)) == 7 + 5 + 5


def test_synthetic_rocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(None, synthetic=SYNTHETIC)
    assert len(data.index.pictures) == 3 * 12
    with (data.index.root).open(newline="") as file:
        published = {row["path"]: (row["label"], row["split"]) for row in csv.DictReader(file)}
    for split in SPLITS:
        assert names_in(data, split)
        assert all(published[name][1] == split for name in names_in(data, split))
    for batch in batches(data.train_dataloader()):
        for _, label, position in rows(batch):
            assert published[data.index.pictures[position].name][0] == data.classes[label]
    assert (tmp_path / "data" / "synthetic").is_dir()
    monkeypatch.setattr(ImageReader, "read", forbidden)
    assert prepared(None, synthetic=SYNTHETIC).split == data.split


def test_synthetic_sets_of_other_parameters_have_other_folders() -> None:
    """Two runs that differ in a parameter must not use one folder."""
    changes: list[dict[str, Any]] = [{}, {"shortcut": True}, {"seed": 1}, {"size": 33}, {"images_per_class": 13}]
    roots = {prepared(None, synthetic={**SYNTHETIC, **change}).index.root for change in changes}
    assert len(roots) == len(changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"synthetic": SYNTHETIC}, r"data\.root=.*data=folder"),
        ({"conflicting_labels": "drop"}, r"data\.conflicting_labels=drop .*refuse, keep"),
        ({"crop": 25}, r"data\.crop=25 .*data\.resize=24"),
        ({"horizontal_flip": 2}, r"data\.horizontal_flip=2"),
        ({"workers": -1}, r"data\.workers=-1"),
    ],
)
def test_contradictions_are_refused_at_once(rocks: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        unprepared(rocks, **changes)


def test_no_folder_at_all() -> None:
    with pytest.raises(UserError, match=r"data\.root is not set: .*data\.root=PHOTOS"):
        unprepared(None)


def test_a_negative_seed_is_refused(rocks: Path) -> None:
    with pytest.raises(UserError, match="seed=-1 must not be negative"):
        unprepared(rocks, seed=-1)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere does not exist: pass a folder"):
        prepared(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no class folders"):
        prepared(tmp_path / "empty")


def test_one_class_is_too_few(tmp_path: Path) -> None:
    root = folder_of_rocks(tmp_path / "one", {"basalt": 9})
    (root / "granite").mkdir()
    with pytest.raises(UserError, match="pictures of basalt only: at least 2 classes"):
        prepared(root)


def test_a_class_with_too_few_pictures(rocks: Path) -> None:
    noise(rocks / "slate" / "0.png", 7777)
    with pytest.raises(UserError, match="class 'slate' has too few pictures"):
        prepared(rocks)


def test_broken_files_are_refused_and_never_seen(rocks: Path, tmp_path: Path) -> None:
    good = (rocks / "basalt" / "00.png").read_bytes()
    (rocks / "basalt" / "text.jpg").write_text("this is no picture")
    (rocks / "granite" / "half.png").write_bytes(good[: len(good) // 2])
    (rocks / "marble" / "empty.jpg").touch()
    data = prepared(rocks, max_unreadable_share=0.1)
    broken = {"basalt/text.jpg", "granite/half.png", "marble/empty.jpg"}
    assert {refused.name for refused in data.index.refused} == broken
    loaders = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    seen = {position for loader in loaders for batch in batches(loader) for position in batch.positions.tolist()}
    assert seen - {PADDING} <= set(range(sum(SIZES.values())))
    # Refused files must not shift the rows of the cache.
    for position, picture in enumerate(data.index.pictures):
        assert picture.name not in broken
        pixels = torch.from_numpy(data.pictures.whole(position)).permute(2, 0, 1)
        torch.testing.assert_close(pixels, squashed(picture.path))
    data.write_record(tmp_path)
    with (tmp_path / "refused.csv").open(newline="") as file:
        listed = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    assert listed.keys() == broken
    assert all(listed.values())
    with pytest.raises(UserError, match=r"3 of 36 files .*data\.max_unreadable_share"):
        prepared(rocks, max_unreadable_share=0.05)


def test_one_picture_under_two_labels(rocks: Path) -> None:
    shutil.copy(rocks / "basalt" / "00.png", rocks / "granite" / "copy.png")
    refused = prepared(rocks)
    assert {item.name for item in refused.index.refused} == {"basalt/00.png", "granite/copy.png"}
    kept = prepared(rocks, conflicting_labels="keep")
    assert len(kept.index.pictures) == 34
    (split,) = [split for split in SPLITS if "basalt/00.png" in names_in(kept, split)]
    assert "granite/copy.png" in names_in(kept, split)


def test_the_record(rocks: Path, tmp_path: Path) -> None:
    data = prepared(rocks)
    data.write_record(tmp_path)
    with (tmp_path / "split.csv").open(newline="") as file:
        splits = {row["name"]: row["split"] for row in csv.DictReader(file)}
    assert splits == {name: split for split in SPLITS for name in names_in(data, split)}
    assert (tmp_path / "refused.csv").read_text().split() == ["name,label,reason"]


class Recorder(lightning.LightningModule):
    """Learns nothing and writes which images came in which epoch into a file for each process."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.folder = folder
        self.seen: dict[str, list[list[int]]] = {}

    def training_step(self, batch: Batch) -> Tensor:
        assert_layout(batch, 9)
        self.remember(f"train {self.current_epoch}", batch)
        return self.weight * batch.images.float().mean()

    def validation_step(self, batch: Batch) -> None:
        self.remember(f"val {self.current_epoch}", batch)

    def test_step(self, batch: Batch) -> None:
        self.remember("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_end(self) -> None:
        assert isinstance(self.trainer.train_dataloader, DataLoader)
        assert type(self.trainer.train_dataloader.sampler) is BalancedBatches
        self.write()

    def on_test_end(self) -> None:
        assert isinstance(self.trainer.test_dataloaders, DataLoader)
        assert type(self.trainer.test_dataloaders.sampler) is EveryImageOnce
        self.write()

    def remember(self, key: str, batch: Batch) -> None:
        self.seen.setdefault(key, []).append(batch.positions.tolist())

    def write(self) -> None:
        torch.save(self.seen, self.folder / f"{self.global_rank}.pt")


def seen_by_lightning(data: RockDataModule, folder: Path, processes: int) -> list[dict[str, list[list[int]]]]:
    """What each process sees in two epochs, and one process in a test, with the sampler options of our trainer."""
    ours = OmegaConf.load(CONF / "trainer" / "cpu.yaml").trainer
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="auto" if processes == 1 else "ddp_spawn",
        use_distributed_sampler=ours.use_distributed_sampler,
        num_sanity_val_steps=ours.num_sanity_val_steps,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    module = Recorder(folder)
    trainer.fit(module, data)
    if processes == 1:  # with more, validation shows the same, and spawning takes long
        trainer.test(module, data, verbose=False)
    return [torch.load(folder / f"{rank}.pt") for rank in range(processes)]


@pytest.mark.filterwarnings("ignore")  # Lightning's hints about workers
@pytest.mark.parametrize("workers", [0, 1])
def test_lightning_sets_the_epoch(rocks: Path, tmp_path: Path, workers: int) -> None:
    (seen,) = seen_by_lightning(prepared(rocks, workers=workers), tmp_path, 1)
    data = prepared(rocks)
    loader = data.train_dataloader()
    for epoch in range(2):
        assert seen[f"train {epoch}"] == [batch.positions.tolist() for batch in batches(loader, epoch)]
        assert seen[f"val {epoch}"] == [batch.positions.tolist() for batch in batches(data.val_dataloader())]
    assert seen["train 0"] != seen["train 1"]
    assert seen["test"] == [batch.positions.tolist() for batch in batches(data.test_dataloader())]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_under_lightning(rocks: Path, tmp_path: Path) -> None:
    """Two with 3 of a class each see, step by step, what one with 6 sees; nothing twice, nothing lost."""
    data = prepared(rocks)
    ranks = seen_by_lightning(data, tmp_path, 2)
    loader = prepared(rocks, samples_per_class=6).train_dataloader()
    for epoch in range(2):
        whole = [Counter(batch.positions.tolist()) for batch in batches(loader, epoch)]
        assert len(whole) == 4
        one, other = (seen[f"train {epoch}"] for seen in ranks)
        assert [Counter(a) + Counter(b) for a, b in zip(one, other, strict=True)] == whole
        validated = [image for seen in ranks for batch in seen[f"val {epoch}"] for image in batch]
        assert sorted(image for image in validated if image != PADDING) == list(data.split.val)
        assert len({len(seen[f"val {epoch}"]) for seen in ranks}) == 1
