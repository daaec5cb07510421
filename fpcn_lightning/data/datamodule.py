"""From a folder of photographs to loaders of balanced batches: index, split, cache."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from fpcn_lightning.config import DataConfig, SyntheticConfig
from fpcn_lightning.data.augment import Augmentation, Squashing
from fpcn_lightning.data.cache import PictureCache, cache_key, default_directory
from fpcn_lightning.data.images import Shape
from fpcn_lightning.data.index import Found, Index, find, scan, write_refused
from fpcn_lightning.data.masks import OBJECT, marked_paths, read_mask
from fpcn_lightning.data.pictures import Batch, RockPictures, Sample
from fpcn_lightning.data.sampler import BalancedBatches, EveryImageOnce, Step
from fpcn_lightning.data.split import Split, all_test, make_split, read_split, write_split
from fpcn_lightning.data.synthetic.dataset import folder_name, make_synthetic
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError, check_choice

logger = logging.getLogger(__name__)


class RockDataModule(lightning.LightningDataModule):
    """The one data module of teacher and student.

    Args:
        config: the section `data` of the config.
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
        config: DataConfig,
        *,
        seed: int,
        classes: Sequence[str] | None = None,
        only_test: bool = False,
    ) -> None:
        super().__init__()
        _check(config, seed)
        self.config = config
        self.seed = seed
        self.view_seed = seed if config.view_seed is None else config.view_seed
        self.augmentation = _augmentation(config)
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
        published = {side: place for side, place in asdict(self.config.split.published).items() if place is not None}
        found = find(root, published, self._minimum_classes)
        cache = self._scan(found, root)
        self.classes = self._numbered_classes()
        self.split = self._split()
        rows = {file.name: row for row, file in enumerate(found)}
        numbers = {name: number for number, name in enumerate(self.classes)}
        pictures = [
            Sample(
                path=item.path,
                label=numbers[item.label],
                cached=rows[item.name],
                shape=self.augmentation.shape(item.height, item.width),
                key=int(item.digest[:16], 16),
            )
            for item in self.index.pictures
        ]
        self._pictures = RockPictures(pictures, self.augmentation, self.view_seed, cache)

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
            samples_per_class=self.config.samples_per_class,
            epoch_length=self.config.epoch_length,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        return self._loader(sampler)

    def views_of_epoch(self, epoch: int) -> DataLoader[Batch]:
        """Every training picture once, in the order of the split, as this epoch of training shows it."""
        images, size = self.split.train, max(1, self.config.evaluation_batch_size)
        steps = [Step(epoch, tuple(images[start : start + size])) for start in range(0, len(images), size)]
        return self._loader(steps)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation picture once."""
        return self._loader(self._every_image_once(self.split.validation))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every test picture once."""
        return self._loader(self._every_image_once(self.split.test))

    def write_record(self, folder: Path) -> None:
        """Write which picture lies on which side (`split.csv`) and which were left out and why (`refused.csv`)."""
        write_split(self.index, self.split, folder / "split.csv")
        write_refused(self.index, folder / "refused.csv")

    def class_counts(self) -> Tensor:
        """Number of training images of each class, long [C]."""
        labels = torch.tensor([self.pictures.pictures[position].label for position in self.split.train])
        return labels.bincount(minlength=len(self.classes))

    def true_mask(self, position: int) -> NDArray[np.bool_] | None:
        """Where the object truly is in what is seen in validation and test; None where the data set does not say.

        Returns:
            bool [H, W], of the one view that there is, or of the whole picture where tiles cover it.
        """
        path = self.marked[OBJECT].get(self.index.pictures[position].name)
        if path is None:
            return None
        shape = self.pictures.pictures[position].shape
        mask, views = read_mask(path, shape), self.augmentation.evaluation_views(shape)
        return self.augmentation.cut(mask, views[0]) if len(views) == 1 else mask

    def centre_masks(self, position: int) -> dict[str, NDArray[np.bool_]]:
        """Where things truly are in the middle of a picture (`RockPictures.centres`): the object and named regions.

        Returns:
            bool [S, S], under `OBJECT` and under the names of the regions that the data set marks in this picture.
        """
        name, shape = self.index.pictures[position].name, self.pictures.pictures[position].shape
        view = self.augmentation.centre(shape, self.augmentation.evaluation_side)
        there = {kind: paths[name] for kind, paths in self.marked.items() if name in paths}
        return {kind: self.augmentation.cut(read_mask(path, shape), view) for kind, path in there.items()}

    @property
    def cache_directory(self) -> Path:
        """Where decoded pictures lie, and what else need not be computed twice."""
        directory = self.config.cache.directory
        return Path(directory) if directory else default_directory()

    @cached_property
    def marked(self) -> dict[str, dict[str, Path]]:
        """Files that mark the object, under `OBJECT`, and named regions, each by the name of its picture."""
        return marked_paths(self.index.root, [picture.name for picture in self.index.pictures])

    def _location(self) -> Path:
        if self.config.root is not None:
            return Path(self.config.root)
        options = asdict(self.config.synthetic or SyntheticConfig())
        return make_synthetic(Path("data") / "synthetic" / folder_name(**options), **options)

    def _scan(self, found: Sequence[Found], root: Path) -> PictureCache | None:
        """Fill the index, and give back the cache.

        The scan fills the cache of squashed pictures on its way. How large the others are is known only when it is
        over: their cache fills when they are first used.
        """
        squashed = self.augmentation.squashed
        if squashed is not None:
            cache = self._cache(found, [squashed] * len(found), squashed[0])
            memo = (
                cache.path.with_suffix(".json") if cache and cache.rows else None
            )  # else that folder may be unwritable
            on_pixels = cache.put if cache else None
            self.index = self._scanned(found, root, on_pixels=on_pixels, shape=squashed, memo=memo)
            return cache
        memo = self._cache_path(found, "whole").with_suffix(".json") if self.config.cache.enabled else None
        self.index = self._scanned(found, root, memo=memo)
        known = {item.name: self.augmentation.shape(item.height, item.width) for item in self.index.pictures}
        shapes = [known.get(file.name, (0, 0)) for file in found]  # what was refused needs no room
        return self._cache(found, shapes, shapes)

    def _scanned(self, found: Sequence[Found], root: Path, **options: Any) -> Index:
        return scan(
            found,
            root,
            max_unreadable_share=self.config.max_unreadable_share,
            conflicting_labels=cast(Literal["refuse", "keep"], self.config.conflicting_labels),  # checked
            minimum_classes=self._minimum_classes,
            **options,
        )

    @property
    def _minimum_classes(self) -> int:
        return 1 if self.only_test else 2

    def _cache(self, found: Sequence[Found], shapes: Sequence[Shape], form: object) -> PictureCache | None:
        if not self.config.cache.enabled:
            return None
        return PictureCache(self._cache_path(found, form), shapes, self.config.cache.max_gigabytes)

    def _cache_path(self, found: Sequence[Found], form: object) -> Path:
        """Where the pictures of these files lie in this form."""
        key = cache_key([(str(file.path), file.size, file.mtime_ns) for file in found], form)
        return self.cache_directory / f"pictures-{key}-{self.config.cache.max_gigabytes:g}gb.uint8"

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
        options = self.config.split
        if options.file is not None:
            return read_split(self.index, Path(options.file))
        return make_split(self.index, validation=options.val, test=options.test, seed=options.seed)

    def _every_image_once(self, images: Sequence[int]) -> EveryImageOnce:
        """Steps of so many pictures that their views fill an evaluation batch, one picture at least."""
        size = self.config.evaluation_batch_size
        pictures = max(min(size, 1), size // self.pictures.rows_a_picture)  # a size below 1 is left to be refused
        return EveryImageOnce(images, pictures, *self._place())

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, sampler: BalancedBatches | EveryImageOnce | Sequence[Step]) -> DataLoader[Batch]:
        return DataLoader(
            self.pictures,
            sampler=sampler,
            batch_size=None,  # the sampler's items are whole batches
            num_workers=self.config.workers,
            persistent_workers=self.config.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _check(config: DataConfig, seed: int) -> None:
    """Check what no type can say about the section `data`."""
    if config.root is not None and config.synthetic is not None:
        raise UserError(f"data.root={config.root} is given while data=synthetic draws its own images: add data=folder.")
    if config.root is None and config.synthetic is None:
        raise UserError("data.root is not set: give the folder of photographs, data.root=PHOTOS.")
    for key, number in (("seed", seed), ("data.workers", config.workers), ("data.view_seed", config.view_seed or 0)):
        if number < 0:
            raise UserError(f"{key}={number} must not be negative.")
    check_choice("data.conflicting_labels", config.conflicting_labels, ("refuse", "keep"))


def _augmentation(config: DataConfig) -> Augmentation:
    views: dict[str, Any] = {
        "crop": config.crop,
        "evaluation_crop": config.evaluation_crop,
        "random_crop": config.random_crop,
        "horizontal_flip": config.horizontal_flip,
        "brightness": config.brightness,
        "contrast": config.contrast,
    }
    if config.tiles:
        return Tiling(tile_scale=config.tile_scale, max_tiles=config.max_tiles, **views)
    return Squashing(resize=config.resize, **views)
