"""Photographs without a class that join the batches of a training: the teacher's logits alone say what they show."""

import csv
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.cache import PictureCache
from fpcn_lightning.data.folders import Skipped, picture_files
from fpcn_lightning.data.index import Index, IndexedImage, ListedFile, listed_file
from fpcn_lightning.data.lists import is_list, located, read_list
from fpcn_lightning.data.loading import make_loader
from fpcn_lightning.data.pictures import Batch, RockPictures
from fpcn_lightning.data.preparation import image_limits, prepare
from fpcn_lightning.data.sampler import PADDING, ClassOrder, Step
from fpcn_lightning.data.samples import sample_of
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import atomic_write
from fpcn_lightning.runs.csv_text import FOREIGN_NAMES
from fpcn_lightning.runs.results import UnlabelledFacts

UNLABELLED = "distillation.unlabelled"
UNLABELLED_NAME = "unlabelled.csv"  # in a run folder
_ORDER = (1 << 32) + 1  # instead of a class number, keeps this order apart from those of the classes
_DIGITS = 16  # of a fingerprint


@dataclass(frozen=True)
class LeftOut:
    """A photograph that is not used, and why."""

    name: str
    reason: str


class UnlabelledImages:
    """Photographs without a class, as they are seen in training: keyed and augmented like those with one.

    Args:
        images: U different ones; their order is that of their content.
        pictures: their views, in this order.
        left_out: further ones that are not used.
        share: of the images of a batch that have no class, above 0 and below 1.

    Attributes:
        images, left_out: as given.
        fingerprint: 16 hexadecimal digits, equal for the same contents.
    """

    def __init__(
        self, images: Sequence[IndexedImage], pictures: RockPictures, left_out: Sequence[LeftOut], share: float
    ) -> None:
        self.images, self.left_out = images, left_out
        self._pictures, self._share = pictures, share
        digests = "\n".join(image.digest for image in images)
        self.fingerprint = hashlib.sha256(digests.encode()).hexdigest()[:_DIGITS]

    @property
    def facts(self) -> UnlabelledFacts:
        """What the record of a run says of them."""
        return UnlabelledFacts(used=len(self.images), left_out=len(self.left_out), fingerprint=self.fingerprint)

    def rows(self, labelled: int) -> int:
        """How many of these join a batch of `labelled` images of one process, at least one."""
        return max(1, round(labelled * self._share / (1 - self._share)))

    def joined(
        self, labelled: RockPictures, size: int, seed: int, rank: int, world_size: int
    ) -> tuple[Dataset[Batch], Callable[[int], Sequence[int]]]:
        """A data set of the images with and without a class, and the latter's positions in each step of a process.

        The positions of images without a class follow those of `labelled`. All are drawn before any is drawn again;
        which ones a step of all processes together has depends on the seed and the number of the step alone.

        Args:
            labelled: the images with a class.
            size: of these in a batch of one process.
            seed: of the run.
            rank, world_size: this process and how many there are.
        """
        own, first = self.rows(size), len(labelled.pictures)
        order = ClassOrder(range(len(self.images)), own * world_size, seed, _ORDER)
        part = slice(rank * own, (rank + 1) * own)
        return _JoinedPictures(labelled, self._pictures), lambda step: [
            first + int(image) for image in order.step(step)[part]
        ]

    def views_of_epoch(self, epoch: int, size: int, workers: int) -> DataLoader[Batch]:
        """Every image once, in order, in its view of this epoch, in batches of `size`."""
        starts = range(0, len(self.images), size)
        steps = [Step(epoch, tuple(range(start, min(start + size, len(self.images))))) for start in starts]
        return make_loader(self._pictures, steps, workers, batch_bytes=size * self._pictures.augmentation.crop**2 * 3)

    def write(self, folder: Path, *, resumed: bool) -> None:
        """Write `unlabelled.csv`: the columns name, used (yes or no) and reason.

        Args:
            folder: of the run.
            resumed: the run goes on from a checkpoint.

        Raises:
            UserError: the interrupted run learned from other photographs.
        """
        path, lines = folder / UNLABELLED_NAME, self._lines()
        if resumed and path.is_file() and _used(path) != [name for name, used, _ in lines if used == "yes"]:
            raise UserError(
                f"{UNLABELLED}: the photographs have changed since {folder} was interrupted: start again with "
                "overwrite=true, or name the new run with variant=NAME."
            )
        with (
            atomic_write(path) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors=FOREIGN_NAMES) as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("name", "used", "reason"))
            writer.writerows(lines)

    def _lines(self) -> list[tuple[str, str, str]]:
        used = [(image.name, "yes", "") for image in self.images]
        return sorted([*used, *((each.name, "no", each.reason) for each in self.left_out)])


def read_unlabelled(place: str, config: DataConfig, augmentation: Augmentation) -> tuple[Index, PictureCache | None]:
    """List and decode photographs without a class, or read them from the cache.

    Args:
        place: a folder, which is searched at every depth, or a list with the column `path`.
        config: the section `data`.
        augmentation: how views are drawn.

    Returns:
        The index, in which all have the empty label, and the cache by position in the sorted names of all files.

    Raises:
        UserError: there is none, or too many cannot be read.
    """
    root = Path(place).absolute()
    found = _listed(root)
    if not found:
        raise UserError(f"{UNLABELLED}={place} holds no photographs in a supported format.")
    try:
        return prepare(config, augmentation, found, root, 1)
    except UserError as error:
        raise UserError(f"{UNLABELLED}: {error}") from error


def different(index: Index, known: Iterable[IndexedImage]) -> tuple[list[IndexedImage], list[LeftOut]]:
    """One image of each content, in the order of the contents, and those that are left out.

    Args:
        index: images without a class.
        known: the images with a class; equal files are left out.
    """
    first = {image.digest: image.name for image in known}
    left_out = [LeftOut(file.name, file.reason) for file in index.refused]
    kept: dict[str, IndexedImage] = {}
    for image in index.pictures:
        twin = first.setdefault(image.digest, image.name)
        if twin == image.name and image.digest not in kept:
            kept[image.digest] = image
        else:
            left_out.append(LeftOut(image.name, f"equal to {twin}"))
    return [kept[digest] for digest in sorted(kept)], left_out


def training_views(
    images: Sequence[IndexedImage],
    index: Index,
    cache: PictureCache | None,
    config: DataConfig,
    augmentation: Augmentation,
    seed: int,
) -> RockPictures:
    """The views of images of an index that `read_unlabelled` returned, in training under a seed."""
    names = sorted([*(image.name for image in index.pictures), *(file.name for file in index.refused)])
    places = {name: place for place, name in enumerate(names)}
    samples = [sample_of(image, PADDING, places[image.name], augmentation) for image in images]
    return RockPictures(samples, augmentation, seed, cache, image_limits(config))


class _JoinedPictures(Dataset[Batch]):
    """Images with a class, and behind them, also in every batch, images without one."""

    def __init__(self, labelled: RockPictures, unlabelled: RockPictures) -> None:
        self._labelled, self._unlabelled = labelled, unlabelled

    def __getitem__(self, step: Step) -> Batch:
        first = len(self._labelled.pictures)
        known = self._labelled[Step(step.epoch, tuple(at for at in step.images if at < first))]
        further = self._unlabelled[Step(step.epoch, tuple(at - first for at in step.images if at >= first))]
        return Batch(
            torch.cat([known.images, further.images]),
            torch.cat([known.labels, further.labels]),
            torch.cat([known.positions, further.positions + first]),
        )


def _listed(root: Path) -> list[ListedFile]:
    """The files below a folder or in a list, each once, sorted by name."""
    if root.is_dir():
        skipped = Skipped()
        paths = picture_files(root, skipped)
        skipped.log(root)
        return _files(paths, root)
    if root.is_file() and is_list(root):
        rows = read_list(root, ("path",))
        return _files([Path(os.path.normpath(located(root.parent, row.text("path")))) for row in rows], root.parent)
    problem = "is neither a folder nor a .csv or .xlsx file" if root.exists() else "does not exist"
    raise UserError(f"{UNLABELLED}={root} {problem}: pass a folder of photographs, or a list with the column path.")


def _files(paths: Iterable[Path], root: Path) -> list[ListedFile]:
    found = {file.name: file for file in (listed_file(path, root, "") for path in paths)}
    return [found[name] for name in sorted(found)]


def _used(path: Path) -> list[str]:
    rows = read_list(path, ("name", "used"), errors=FOREIGN_NAMES)
    return [row.cells["name"] for row in rows if row.cells["used"] == "yes"]
