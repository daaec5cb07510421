"""How good a teacher is on the images that its student is evaluated on; computed once for all of its students."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import torch

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.feature_store import Features, stored_features
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import PADDING
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
    stored = stored_features(
        data.cache_directory, key, lambda: _computed(teacher, data.every_view(images, augmentation), device)
    )
    rows, positions = torch.from_numpy(stored), data.view_positions(images, augmentation)
    labels = torch.tensor([data.pictures.pictures[position].label for position in positions.tolist()])
    return summarise(voted(positions, rows), labels[first_rows(positions)])


def _views(teacher: TeacherModel, augmentation: Augmentation) -> Augmentation | None:
    """How images are seen that the teacher is measured on."""
    if teacher.side in (None, augmentation.evaluation_size):
        return augmentation
    return replace(augmentation, evaluation_crop=None) if teacher.side == augmentation.crop else None


def _computed(teacher: TeacherModel, batches: Iterable[Batch], device: torch.device) -> Features:
    """The logits [V, C] of all views."""
    found = [teacher.logits(batch.images[batch.positions != PADDING].to(device)).cpu() for batch in batches]
    return torch.cat(found).numpy()
