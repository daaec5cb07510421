"""A trained network that students learn from: it answers, and nothing that is called changes it."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.checkpoints import Loaded, load

# Keys of `data` in which teacher and student must agree, with what the absence of one means in an old checkpoint.
SAME_VIEWS = {"crop": None, "tiles": False}
SQUASHED, TILED = {"resize": None}, {"tile_scale": 1.0}
LINEAGE = ("name", "variant", "seed", "split", "model")  # of the teacher's record, for the student's


class Teacher:
    """A network in evaluation mode, in float32, without gradients.

    It is no `nn.Module`, so that neither `train()` nor an optimiser nor a checkpoint of the student's can reach it.

    Args:
        loaded: network and record of a checkpoint.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.network: Network = loaded.network.eval().requires_grad_(False)
        self.record = loaded.record
        self.feature_dim = loaded.network.feature_dim
        self._mean, self._std = (
            torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (self.network.mean, self.network.std)
        )

    def logits(self, images: Tensor) -> Tensor:
        """What it says of pictures [B, 3, S, S], values 0..255: float32 [B, C], in its configured reading."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return self.network(self._normalised(images)).float()  # type: ignore[no-any-return]

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """The vectors [B, D] that it classifies pictures [B, 3, S, S] by, values 0..255; labels [B] choose pairs."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return self.network.views(self._normalised(images), labels).features.float()

    def _normalised(self, images: Tensor) -> Tensor:
        if images.device != self._mean.device:
            self.network.to(images.device)
            self._mean, self._std = self._mean.to(images.device), self._std.to(images.device)
        return (images.float() / 255 - self._mean) / self._std


def read_teacher(path: Path) -> tuple[Teacher, str]:
    """The teacher of a checkpoint of ours, and the SHA-256 of the file.

    Raises:
        UserError: what `fpcn_lightning.modules.checkpoints.load` finds wrong, or the file changes meanwhile.
    """
    digest = file_hash(path)
    try:
        teacher = Teacher(load(path))
    except UserError as error:
        raise UserError(f"distillation.teacher: {error}") from error
    missing = [key for key in LINEAGE if key not in teacher.record]
    if missing:
        raise UserError(f"distillation.teacher={path} says nothing of its {missing[0]}: train it again.")
    if file_hash(path) != digest:
        raise UserError(f"distillation.teacher={path} is being written by a training: let that finish first.")
    return teacher, digest


def check_fits(record: Mapping[str, Any], classes: Sequence[str], data: Mapping[str, Any], split: str) -> None:
    """Refuse a teacher from whom this student could learn the wrong thing, or its own test pictures.

    Args:
        record: of the teacher's checkpoint.
        classes: the student's class names in the order of their numbers.
        data: the student's section of the config.
        split: fingerprint of the student's data.

    Raises:
        UserError: another order of classes, other preprocessing, or other pictures on the sides of the split.
    """
    if list(record["classes"]) != list(classes):
        raise UserError(
            f"distillation.teacher knows the classes {', '.join(record['classes'])}, the data have "
            f"{', '.join(classes)}: teacher and student must have the same."
        )
    for key, absent in {**SAME_VIEWS, **(TILED if data["tiles"] else SQUASHED)}.items():
        theirs, ours = record["data"].get(key, absent), data[key]
        if theirs != ours:
            raise UserError(
                f"distillation.teacher was trained with data.{key}={theirs}, the student has {ours}: set "
                f"data.{key}={str(theirs).lower()}."
            )
    if record["split"] != split:
        raise UserError(
            "distillation.teacher was trained on another split, and may know the student's test pictures: take over "
            "its split with data.split.file=TEACHER_RUN/split.csv."
        )


def lineage(path: Path, digest: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a student's record says of its teacher, and of the teacher's own, so that it rests on no tracker."""
    own = {"checkpoint": path.as_posix(), "sha256": digest, **{key: record[key] for key in LINEAGE}}
    return {**own, "teacher": record.get("teacher")}


def file_hash(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        UserError: there is no such file.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"distillation.teacher={path} cannot be read ({error.strerror}): train the teacher first, and give its "
            "checkpoint."
        ) from error
