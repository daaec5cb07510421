"""From a folder of photographs to balanced batches: index, split, cache, views, loaders."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.cache import PictureCache, cache_key, default_directory
from fpcn_lightning.data.images import UnreadableImage, read_square
from fpcn_lightning.data.index import Found, Index, find, scan, write_refused
from fpcn_lightning.data.masks import mask_paths, read_mask
from fpcn_lightning.data.sampler import PADDING, BalancedBatches, EveryImageOnce, Step
from fpcn_lightning.data.split import Split, all_test, make_split, read_split, write_split
from fpcn_lightning.data.synthetic import make_synthetic
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Pictures as they were cut; normalising them is the network's side."""

    images: Tensor  # uint8 [B, 3, crop, crop], channels last in memory
    labels: Tensor  # long [B]; -1 in a row of padding
    positions: Tensor  # long [B], of the picture in the index; -1 in a row of padding


@dataclass(frozen=True)
class Picture:
    """Where a picture of the index lies, its row in the cache, and what its views are drawn by."""

    path: Path
    label: int
    cached: int
    key: int  # out of its bytes: another picture that joins the data set changes no view of this one


class RockPictures(Dataset[Batch]):
    """One `Step` in, one `Batch` out."""

    def __init__(
        self, pictures: Sequence[Picture], augmentation: Augmentation, seed: int, cache: PictureCache | None
    ) -> None:
        self.pictures = pictures
        self.augmentation = augmentation
        self.seed = seed
        self.cache = cache

    def __getitem__(self, step: Step) -> Batch:
        cut = np.stack([self._view(position, step.epoch) for position in step.images])
        labels = [self.pictures[position].label if position != PADDING else PADDING for position in step.images]
        return Batch(torch.from_numpy(cut).permute(0, 3, 1, 2), torch.tensor(labels), torch.tensor(step.images))

    def _view(self, position: int, epoch: int | None) -> NDArray[np.uint8]:
        augmentation = self.augmentation
        if position == PADDING:
            return np.zeros((augmentation.evaluation_side, augmentation.evaluation_side, 3), np.uint8)
        if epoch is None:
            drawn = augmentation.centre(augmentation.evaluation_side)
        else:
            drawn = augmentation.draw(self.seed, epoch, self.pictures[position].key)
        return augmentation.cut(self.squashed(position), drawn)

    def squashed(self, position: int) -> NDArray[np.uint8]:
        """The whole picture at `position`, uint8 [resize, resize, 3]."""
        picture = self.pictures[position]

        def decode() -> NDArray[np.uint8]:
            try:
                return read_square(picture.path, self.augmentation.resize)
            except UnreadableImage as error:
                raise UserError(
                    f"{picture.path} could be read when the run began and cannot any more ({error}): put it back, or "
                    "start again without it."
                ) from error

        return decode() if self.cache is None else self.cache.get(picture.cached, decode)


class RockDataModule(lightning.LightningDataModule):
    """The one data module of teacher and student.

    The arguments are the keys of `data` in the config (`fpcn_lightning.config.DataConfig`), and:

    Args:
        seed: of the run; decides order and views, not the split.
        classes: number the labels in this order instead of alphabetically, and refuse pictures of any other class.
        only_test: all pictures are the test side (a checkpoint is tested on a folder that it has never seen).

    Attributes:
        index: the pictures, after `setup`.
        split: their sides, after `setup`.
        classes: class names in the order of their numbers, after `setup`.
    """

    index: Index
    split: Split
    classes: tuple[str, ...]

    def __init__(
        self,
        *,
        seed: int,
        root: str | None,
        synthetic: Mapping[str, Any] | None,
        split: Mapping[str, Any],
        cache: Mapping[str, Any],
        resize: int,
        crop: int,
        evaluation_crop: int | None,
        random_crop: bool,
        horizontal_flip: float,
        samples_per_class: int,
        epoch_length: str | int,
        evaluation_batch_size: int,
        workers: int,
        max_unreadable_share: float,
        conflicting_labels: str,
        classes: Sequence[str] | None = None,
        only_test: bool = False,
    ) -> None:
        super().__init__()
        if root is not None and synthetic is not None:
            raise UserError(f"data.root={root} is given while data=synthetic draws its own pictures: add data=folder.")
        if root is None and synthetic is None:
            raise UserError("data.root is not set: give the folder of photographs, data.root=PHOTOS.")
        for key, number in (("seed", seed), ("data.workers", workers)):
            if number < 0:
                raise UserError(f"{key}={number} must not be negative.")
        if conflicting_labels not in ("refuse", "keep"):
            raise UserError(f"data.conflicting_labels={conflicting_labels} is unknown: choose refuse or keep.")
        self.seed = seed
        self.root, self.synthetic = root, dict(synthetic or {})
        self.split_options, self.cache_options = dict(split), dict(cache)
        self.augmentation = Augmentation(resize, crop, random_crop, horizontal_flip, evaluation_crop)
        self.samples_per_class, self.epoch_length = samples_per_class, epoch_length
        self.evaluation_batch_size, self.workers = evaluation_batch_size, workers
        self.scan_options: dict[str, Any] = {
            "max_unreadable_share": max_unreadable_share,
            "conflicting_labels": conflicting_labels,
            "minimum_classes": 1 if only_test else 2,
        }
        self.wanted_classes, self.only_test = classes, only_test
        self._pictures: RockPictures | None = None

    def prepare_data(self) -> None:
        """Everything that `setup` does, which fills the cache; once a machine, so that other processes find it."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature; all stages need the same
        """Find and decode the pictures (or read what the cache knows of them) and split them; the second call is free.

        Raises:
            UserError: whatever is wrong with the folder, its pictures or the split.
        """
        if self._pictures is not None:
            return
        root = self._location()
        published = {side: place for side, place in self.split_options["published"].items() if place is not None}
        found = find(root, published, self.scan_options["minimum_classes"])
        cache = self._cache(found)
        memo = cache.path.with_suffix(".json") if cache and cache.rows else None  # else that folder may be unwritable
        on_pixels = cache.put if cache else None
        size = self.augmentation.resize
        self.index = scan(found, root, on_pixels=on_pixels, size=size, memo=memo, **self.scan_options)
        self.classes = self._numbered_classes()
        self.split = self._split()
        rows = {file.name: row for row, file in enumerate(found)}
        numbers = {name: number for number, name in enumerate(self.classes)}
        pictures = [
            Picture(item.path, numbers[item.label], rows[item.name], int(item.digest[:16], 16))
            for item in self.index.pictures
        ]
        self._pictures = RockPictures(pictures, self.augmentation, self.seed, cache)

    @property
    def pictures(self) -> RockPictures:
        """The data set behind all loaders, after `setup`."""
        if self._pictures is None:
            raise RuntimeError("setup() comes first")
        return self._pictures

    def train_dataloader(self) -> DataLoader[Batch]:
        """Balanced batches."""
        rank, world_size = self._place()
        sampler = BalancedBatches(
            [picture.label for picture in self.pictures.pictures],
            self.split.train,
            classes=len(self.classes),
            samples_per_class=self.samples_per_class,
            epoch_length=self.epoch_length,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation picture once."""
        return self._loader(EveryImageOnce(self.split.validation, self.evaluation_batch_size, *self._place()))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every test picture once."""
        return self._loader(EveryImageOnce(self.split.test, self.evaluation_batch_size, *self._place()))

    def write_record(self, folder: Path) -> None:
        """Write which picture lies on which side (`split.csv`) and which were left out and why (`refused.csv`)."""
        write_split(self.index, self.split, folder / "split.csv")
        write_refused(self.index, folder / "refused.csv")

    def true_mask(self, position: int) -> NDArray[np.bool_] | None:
        """Where the object truly is in the evaluation view, bool [side, side]; None where the data set does not say."""
        path = self._masks.get(self.index.pictures[position].name)
        if path is None:
            return None
        view = self.augmentation.centre(self.augmentation.evaluation_side)
        return self.augmentation.cut(read_mask(path, self.augmentation.resize), view)

    @cached_property
    def _masks(self) -> dict[str, Path]:
        return mask_paths(self.index.root, [picture.name for picture in self.index.pictures])

    def _location(self) -> Path:
        if self.root is not None:
            return Path(self.root)
        options = self.synthetic
        name = f"{options['images_per_class']}-a-class-{options['size']}px-seed-{options['seed']}"
        folder = Path("data") / "synthetic" / (f"{name}-shortcut" if options["shortcut"] else name)
        return make_synthetic(folder, **options)

    def _cache(self, found: Sequence[Found]) -> PictureCache | None:
        if not self.cache_options["enabled"]:
            return None
        directory = self.cache_options["directory"]
        size = self.augmentation.resize
        key = cache_key([(str(file.path), file.size, file.mtime_ns) for file in found], size)
        bound = self.cache_options["max_gigabytes"]
        path = (Path(directory) if directory else default_directory()) / f"pictures-{key}-{bound:g}gb.uint8"
        return PictureCache(path, len(found), size, bound)

    def _numbered_classes(self) -> tuple[str, ...]:
        if self.wanted_classes is None:
            return self.index.classes
        unknown = sorted(set(self.index.classes) - set(self.wanted_classes))
        if unknown:
            raise UserError(
                f"{self.index.root} has the classes {', '.join(unknown)}, which the checkpoint does not know: it knows "
                f"{', '.join(self.wanted_classes)}. Rename or remove those folders."
            )
        return tuple(self.wanted_classes)

    def _split(self) -> Split:
        if self.only_test:
            return all_test(self.index)
        if self.split_options["file"] is not None:
            return read_split(self.index, Path(self.split_options["file"]))
        return make_split(self.index, **{key: self.split_options[key] for key in ("validation", "test", "seed")})

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, sampler: BalancedBatches | EveryImageOnce) -> DataLoader[Batch]:
        return DataLoader(
            self.pictures,
            sampler=sampler,
            batch_size=None,  # the sampler's items are whole batches
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
