"""From a folder of photographs to loaders of balanced batches: index, split, cache."""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

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
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)


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
        # Checkpoints that were written before these keys lack them.
        tiles: bool = False,
        tile_scale: float = 1.0,
        most_tiles: int = 16,
        brightness: float = 0.0,
        contrast: float = 0.0,
        view_seed: int | None = None,
        classes: Sequence[str] | None = None,
        only_test: bool = False,
    ) -> None:
        super().__init__()
        if root is not None and synthetic is not None:
            raise UserError(f"data.root={root} is given while data=synthetic draws its own pictures: add data=folder.")
        if root is None and synthetic is None:
            raise UserError("data.root is not set: give the folder of photographs, data.root=PHOTOS.")
        for key, number in (("seed", seed), ("data.workers", workers), ("data.view_seed", view_seed or 0)):
            if number < 0:
                raise UserError(f"{key}={number} must not be negative.")
        if conflicting_labels not in ("refuse", "keep"):
            raise UserError(f"data.conflicting_labels={conflicting_labels} is unknown: choose refuse or keep.")
        self.seed = seed
        self.view_seed = seed if view_seed is None else view_seed
        self.root, self.synthetic = root, dict(synthetic or {})
        self.split_options, self.cache_options = dict(split), dict(cache)
        views: dict[str, Any] = {
            "crop": crop,
            "evaluation_crop": evaluation_crop,
            "random_crop": random_crop,
            "horizontal_flip": horizontal_flip,
            "brightness": brightness,
            "contrast": contrast,
        }
        self.augmentation: Augmentation = (
            Tiling(tile_scale=tile_scale, most_tiles=most_tiles, **views)
            if tiles
            else Squashing(resize=resize, **views)
        )
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
            samples_per_class=self.samples_per_class,
            epoch_length=self.epoch_length,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        return self._loader(sampler)

    def views_of_epoch(self, epoch: int) -> DataLoader[Batch]:
        """Every training picture once, in the order of the split, as this epoch of training shows it."""
        images, size = self.split.train, max(1, self.evaluation_batch_size)
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
        directory = self.cache_options["directory"]
        return Path(directory) if directory else default_directory()

    @cached_property
    def marked(self) -> dict[str, dict[str, Path]]:
        """Files that mark the object, under `OBJECT`, and named regions, each by the name of its picture."""
        return marked_paths(self.index.root, [picture.name for picture in self.index.pictures])

    def _location(self) -> Path:
        if self.root is not None:
            return Path(self.root)
        return make_synthetic(Path("data") / "synthetic" / folder_name(**self.synthetic), **self.synthetic)

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
            self.index = scan(found, root, on_pixels=on_pixels, shape=squashed, memo=memo, **self.scan_options)
            return cache
        memo = self._cache_path(found, "whole").with_suffix(".json") if self.cache_options["enabled"] else None
        self.index = scan(found, root, memo=memo, **self.scan_options)
        known = {item.name: self.augmentation.shape(item.height, item.width) for item in self.index.pictures}
        shapes = [known.get(file.name, (0, 0)) for file in found]  # what was refused needs no room
        return self._cache(found, shapes, shapes)

    def _cache(self, found: Sequence[Found], shapes: Sequence[Shape], form: object) -> PictureCache | None:
        if not self.cache_options["enabled"]:
            return None
        return PictureCache(self._cache_path(found, form), shapes, self.cache_options["max_gigabytes"])

    def _cache_path(self, found: Sequence[Found], form: object) -> Path:
        """Where the pictures of these files lie in this form."""
        key = cache_key([(str(file.path), file.size, file.mtime_ns) for file in found], form)
        return self.cache_directory / f"pictures-{key}-{self.cache_options['max_gigabytes']:g}gb.uint8"

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

    def _every_image_once(self, images: Sequence[int]) -> EveryImageOnce:
        """Steps of so many pictures that their views fill an evaluation batch, one picture at least."""
        size = self.evaluation_batch_size
        pictures = max(min(size, 1), size // self.pictures.rows_a_picture)  # a size below 1 is left to be refused
        return EveryImageOnce(images, pictures, *self._place())

    def _place(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(self, sampler: BalancedBatches | EveryImageOnce | Sequence[Step]) -> DataLoader[Batch]:
        return DataLoader(
            self.pictures,
            sampler=sampler,
            batch_size=None,  # the sampler's items are whole batches
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
