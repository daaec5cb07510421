"""How good a teacher is on the images that its student is evaluated on; computed once for all of its students."""

from dataclasses import replace
from typing import Literal

import torch

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.feature_store import Features, stored_features
from fpcn_lightning.data.loading import make_loader
from fpcn_lightning.data.pictures import RockPictures
from fpcn_lightning.data.sampler import PADDING, EveryImageOnce
from fpcn_lightning.modules.metrics import summarise
from fpcn_lightning.modules.probing import evaluation_cuts
from fpcn_lightning.modules.teacher import TeacherModel
from fpcn_lightning.modules.voting import first_rows, voted
from fpcn_lightning.runs.results import Metrics


def teacher_metrics(
    teacher: TeacherModel, digest: str, data: RockDataModule, split: Literal["val", "test"], device: torch.device
) -> Metrics | None:
    """The metrics of a teacher on a split, on the views of the student's evaluation.

    A teacher that takes views of one size only sees the crops of that size, those of training. Its logits are stored
    in the cache.

    Args:
        teacher: what is measured.
        digest: identifies it.
        data: of the student, after `setup`.
        split: of the images.
        device: that it runs on.

    Returns:
        None where the split is empty, or the teacher takes views neither of the evaluation nor of training.
    """
    images, augmentation = getattr(data.split, split), _views(teacher, data.augmentation)
    if not images or augmentation is None:
        return None
    key = {
        "teacher": digest,
        "data": data.split.fingerprint,
        "split": split,
        **evaluation_cuts(data, images, augmentation),
    }
    pictures = RockPictures(
        data.pictures.pictures, augmentation, data.view_seed, data.pictures.cache, data.pictures.limits
    )
    rows = torch.from_numpy(
        stored_features(data.cache_directory, key, lambda: _computed(teacher, pictures, images, data, device))
    )
    counts = [len(augmentation.evaluation_views(pictures.pictures[position].shape)) for position in images]
    positions = torch.tensor(list(images)).repeat_interleave(torch.tensor(counts))
    labels = torch.tensor([pictures.pictures[position].label for position in positions.tolist()])
    return summarise(voted(positions, rows), labels[first_rows(positions)])


def _views(teacher: TeacherModel, augmentation: Augmentation) -> Augmentation | None:
    """How images are seen that the teacher is measured on."""
    if teacher.side in (None, augmentation.evaluation_size):
        return augmentation
    return replace(augmentation, evaluation_crop=None) if teacher.side == augmentation.crop else None


def _computed(
    teacher: TeacherModel, pictures: RockPictures, images: tuple[int, ...], data: RockDataModule, device: torch.device
) -> Features:
    """The logits [V, C] of all views."""
    size = max(1, data.config.evaluation_batch_size // pictures.rows_a_picture)
    side = pictures.augmentation.evaluation_size
    loader = make_loader(
        pictures, EveryImageOnce(images, size), data.config.workers, size * pictures.rows_a_picture * side * side * 3
    )
    found = [teacher.logits(batch.images[batch.positions != PADDING].to(device)).cpu() for batch in loader]
    return torch.cat(found).numpy()
