"""From a folder of photographs to loaders of balanced batches: index, split, cache."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.augment import Augment, Augmentation
from fpcn_lightning.data.images.fit import in_proportion
from fpcn_lightning.data.index import Index, find
from fpcn_lightning.data.loading import make_loader
from fpcn_lightning.data.masks import OBJECT, marked_paths, read_mask
from fpcn_lightning.data.pictures import Batch, RockPictures
from fpcn_lightning.data.preparation import (
    cache_directory,
    check_data_config,
    image_limits,
    location,
    make_augmentation,
    make_data_config,
    prepare,
    published_split,
)
from fpcn_lightning.data.sampler import BalancedBatches, EveryImageOnce, Step, batch_shape
from fpcn_lightning.data.samples import sample_of
from fpcn_lightning.data.scan import REFUSED_NAME, write_refused
from fpcn_lightning.data.split import Split, all_test, configured_split, write_split
from fpcn_lightning.data.unlabelled import UnlabelledImages
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.split_file import SPLIT_NAME


class RockDataModule(lightning.LightningDataModule):
    """The one data module of teacher and student.

    `RockDataModule(root="photographs")` is enough in a notebook: 256 px, crops of 224 px, batches of 32.

    Args:
        config: the section `data` of the config; None makes it of the keywords.
        root: folder of class folders, or a list with the columns `path` and `label`, in the place of `config`.
        seed: of the run; decides order and views, not the split.
        classes: number the labels in this order instead of alphabetically, and refuse images of any other class.
        only_test: all images are the test split (a checkpoint is tested on another folder).
        augmentations: functions that change a view in training, after brightness and contrast: those of
            `data.augmentations`, which `fpcn_lightning.build.datamodule` builds.
        **options: further keys of the section `data`, such as `crop=160, fit="letterbox", split={"test": 0.3}`.

    Attributes:
        index: the images, after `setup`.
        split: their splits, after `setup`.
        classes: class names in the order of their numbers, after `setup`.
        published: the folder below the root of each published split, after `setup`; empty where there is none.
        augmentation: how views are drawn.
        unlabelled: images without a class that join the batches of training, None without any.

    Raises:
        UserError: a value of the section is invalid.
    """

    index: Index
    split: Split
    classes: tuple[str, ...]
    published: dict[str, str]

    def __init__(
        self,
        config: DataConfig | None = None,
        *,
        root: str | os.PathLike[str] | None = None,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        only_test: bool = False,
        augmentations: Sequence[Augment] = (),
        **options: Any,
    ) -> None:
        super().__init__()
        if config is None:
            config = make_data_config(root, options)
        elif root is not None or options:
            raise TypeError("RockDataModule takes a config or its keys, not both")
        check_data_config(config, seed)
        self.config = config
        self.seed = seed
        self.view_seed = seed if config.view_seed is None else config.view_seed
        self.augmentation = make_augmentation(config, augmentations)
        self.wanted_classes, self.only_test = classes, only_test
        self.epoch_length: str | int = config.epoch_length
        self._pictures: RockPictures | None = None
        self.unlabelled: UnlabelledImages | None = None

    def prepare_data(self) -> None:
        """Call `setup`, which fills the cache: once on each machine, before the other processes read it."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature; all stages need the same
        """List, decode (or read from the cache) and split the images; a second call does nothing.

        Raises:
            UserError: the folder, its images or the split cannot be used.
        """
        if self._pictures is not None:
            return
        root = location(self.config)
        self.published = published_split(self.config, root)
        minimum_classes = 1 if self.only_test else 2
        found = find(root, self.published, minimum_classes, self.wanted_classes)
        self.index, cache = prepare(self.config, self.augmentation, found, root, minimum_classes)
        self.classes = self._numbered_classes()
        self.split = self._split()
        rows = {file.name: row for row, file in enumerate(found)}
        numbers = {name: number for number, name in enumerate(self.classes)}
        pictures = [
            sample_of(item, numbers[item.label], rows[item.name], self.augmentation) for item in self.index.pictures
        ]
        self._pictures = RockPictures(pictures, self.augmentation, self.view_seed, cache, image_limits(self.config))

    @property
    def pictures(self) -> RockPictures:
        """The data set that all loaders read, after `setup`.

        Raises:
            RuntimeError: before `setup`.
        """
        if self._pictures is None:
            raise RuntimeError("the data module is not set up: call setup() first")
        return self._pictures

    def thumbnail(self, position: int, side: int) -> Image.Image:
        """What views show of the image at `position` of the index, in its own proportions, the longer side of `side`.

        Raises:
            UserError: it could be read when the run began, but not any more.
        """
        item, whole = self.index.pictures[position], Image.fromarray(self.pictures.whole(position))
        return in_proportion(whole, self.augmentation.area(item.height, item.width), item.height, item.width, side)

    def set_epoch_length(self, steps: int) -> None:
        """Set the number of steps of an epoch, in place of `data.epoch_length`."""
        self.epoch_length = steps

    def train_dataloader(self) -> DataLoader[Batch]:
        """Balanced batches, or batches of all classes as they come; images without a class are behind the others."""
        rank, world_size = self._rank()
        balanced = self.config.sampling == "balanced"
        labels = [picture.label if balanced else 0 for picture in self.pictures.pictures]
        samples, classes = self.batch_shape()
        pictures, further = None, None
        if self.unlabelled is not None:
            pictures, further = self.unlabelled.joined(self.pictures, samples * classes, self.seed, rank, world_size)
        sampler = BalancedBatches(
            labels,
            self.split.train,
            classes=len(self.classes) if balanced else 1,
            samples_per_class=samples if balanced else samples * classes,
            classes_per_batch=classes,
            epoch_length=self.epoch_length,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
            further=further,
        )
        return self._loader(sampler, self.rows_of_step, self.config.crop, pictures)

    @property
    def rows_of_step(self) -> int:
        """Images in a batch of one process, those without a class included."""
        samples, classes = self.batch_shape()
        rows = samples * classes
        return rows if self.unlabelled is None else rows + self.unlabelled.rows(rows)

    def batch_shape(self) -> tuple[int, int]:
        """Images of a class, and classes, in a batch of one process, limited by `data.batch_size`."""
        return batch_shape(self.config.samples_per_class, len(self.classes), self.config.batch_size)

    def views_of_epoch(self, epoch: int) -> DataLoader[Batch]:
        """Every training image once, in the order of the split, in its view of this epoch."""
        images, size = self.split.train, max(1, self.config.evaluation_batch_size)
        steps = [Step(epoch, tuple(images[start : start + size])) for start in range(0, len(images), size)]
        return self._loader(steps, size, self.config.crop)

    def every_view(self, images: Sequence[int], augmentation: Augmentation) -> DataLoader[Batch]:
        """Every view of these images in validation and test, as `augmentation` has them, on each process."""
        known = self.pictures
        pictures = RockPictures(known.pictures, augmentation, self.view_seed, known.cache, known.limits)
        size = max(1, self.config.evaluation_batch_size // pictures.rows_a_picture)
        side = augmentation.evaluation_size
        return self._loader(EveryImageOnce(images, size), size * pictures.rows_a_picture, side, pictures)

    def view_positions(self, images: Sequence[int], augmentation: Augmentation) -> Tensor:
        """The image of each row of `every_view` that is no padding, long [N]."""
        shapes = {position: self.pictures.pictures[position].shape for position in images}
        counts = torch.tensor([len(augmentation.evaluation_views(shapes[position])) for position in images])
        return torch.tensor(list(images)).repeat_interleave(counts)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Every validation image once."""
        return self._evaluation_loader(self.split.val)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Every test image once."""
        return self._evaluation_loader(self.split.test)

    def write_record(self, folder: Path) -> None:
        """Write the split of each image (`split.csv`) and the refused files with the reasons (`refused.csv`)."""
        write_split(self.index, self.split, folder / SPLIT_NAME)
        write_refused(self.index, folder / REFUSED_NAME)

    def class_counts(self) -> Tensor:
        """Number of training images of each class, long [C]."""
        labels = torch.tensor([self.pictures.pictures[position].label for position in self.split.train])
        return labels.bincount(minlength=len(self.classes))

    def true_mask(self, position: int) -> NDArray[np.bool_] | None:
        """The true object mask of an image as it is seen in validation and test; None where the data set has none.

        Returns:
            bool [H, W], of the view if there is one view, or of the whole image if tiles cover it.
        """
        path = self.marked[OBJECT].get(self.index.pictures[position].name)
        if path is None:
            return None
        shape = self.pictures.pictures[position].shape
        mask, views = read_mask(path, self.augmentation.square or shape), self.augmentation.evaluation_views(shape)
        return self.augmentation.cut(mask, views[0]) if len(views) == 1 else mask

    def centre_masks(self, position: int) -> dict[str, NDArray[np.bool_]]:
        """The true masks of the centre view of an image (`RockPictures.centres`): of the object and of named regions.

        Returns:
            bool [S, S], under `OBJECT` and under the names of the regions that the data set marks in this image.
        """
        name, shape = self.index.pictures[position].name, self.pictures.pictures[position].shape
        view = self.augmentation.centre(shape, self.augmentation.evaluation_size)
        files = {kind: paths[name] for kind, paths in self.marked.items() if name in paths}
        form = self.augmentation.square or shape
        return {kind: self.augmentation.cut(read_mask(path, form), view) for kind, path in files.items()}

    @property
    def cache_directory(self) -> Path | None:
        """The folder of decoded images and of everything else that is computed once; None where there is none."""
        return cache_directory(self.config)

    @cached_property
    def marked(self) -> dict[str, dict[str, Path]]:
        """The mask files of the object, under `OBJECT`, and of named regions, each by the name of its image."""
        return marked_paths(self.index.root, [picture.name for picture in self.index.pictures])

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
        return configured_split(self.index, self.config.split)

    def _evaluation_loader(self, images: Sequence[int]) -> DataLoader[Batch]:
        """Every image once, in steps of as many as have views for an evaluation batch, at least one."""
        size = self.config.evaluation_batch_size
        pictures = max(min(size, 1), size // self.pictures.rows_a_picture)  # EveryImageOnce refuses a size below 1
        sampler, rows = EveryImageOnce(images, pictures, *self._rank()), pictures * self.pictures.rows_a_picture
        return self._loader(sampler, rows, self.augmentation.evaluation_size)

    def _rank(self) -> tuple[int, int]:
        """The rank of this process, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _loader(
        self,
        sampler: BalancedBatches | EveryImageOnce | Sequence[Step],
        rows: int,
        side: int,
        pictures: Dataset[Batch] | None = None,
    ) -> DataLoader[Batch]:
        """A loader of batches of `rows` views of `side` x `side` pixels."""
        return make_loader(pictures or self.pictures, sampler, self.config.workers, batch_bytes=rows * side * side * 3)
