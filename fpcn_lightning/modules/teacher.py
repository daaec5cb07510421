"""What students learn from: a trained network, whose weights are never changed, or several."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fpcn_lightning.config import DataConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.distillation import mean_prediction
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.normalisation import Normalisation
from fpcn_lightning.modules.checkpoints import CheckpointRecord, Loaded, load
from fpcn_lightning.modules.teacher_files import TEACHER
from fpcn_lightning.runs.recording import file_hash

# Keys of `data` in which teacher and student must agree.
SAME_VIEWS = ("crop", "tiles")
SQUARE, TILED = ("resize", "fit"), ("tile_scale",)
LETTERBOX = ("fill",)


class TeacherModel(ABC):
    """What has logits for the views of a student.

    It is not an `nn.Module`, so that `train()`, the optimiser and the checkpoints of the student do not include it.

    Attributes:
        feature_dim: channels D of `features`; None without any.
        side: height and width in pixels of the only views that it takes; None takes any.
    """

    feature_dim: int | None = None
    side: int | None = None

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [B, C], of images [B, 3, S, S], values 0..255, without a gradient."""

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Feature vectors, float32 [B, D], of images [B, 3, S, S], values 0..255, with labels [B]."""
        raise NotImplementedError(f"{type(self).__name__} has no features")


class Teacher(TeacherModel):
    """The network of a checkpoint in evaluation mode, in float32, without gradients, in its configured inference mode.

    Args:
        loaded: network and record of a checkpoint.
    """

    feature_dim: int

    def __init__(self, loaded: Loaded) -> None:
        self.network: Network = loaded.network.eval().requires_grad_(False)
        self.record = loaded.record
        self.feature_dim = loaded.network.feature_dim
        self.side = loaded.record.data.crop if loaded.network.fixed_size else None
        self._normalise = Normalisation(self.network)
        self._device = torch.device("cpu")

    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [B, C], of images [B, 3, S, S], values 0..255."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return self.network(self._normalised(images)).float()  # type: ignore[no-any-return]

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Feature vectors [B, D] of images [B, 3, S, S], values 0..255; the choice of pairs depends on labels [B]."""
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return self.network.views(self._normalised(images), labels).features.float()

    def _normalised(self, images: Tensor) -> Tensor:
        if images.device != self._device:
            self._device = images.device
            self.network.to(images.device)
            self._normalise.to(images.device)
        normalised: Tensor = self._normalise(images)
        return normalised


class Ensemble(TeacherModel):
    """Several teachers as one: its probabilities are the mean of theirs.

    Args:
        members: at least two.
    """

    def __init__(self, members: Sequence[TeacherModel]) -> None:
        self.members = members
        self.side = next((member.side for member in members if member.side is not None), None)

    def logits(self, images: Tensor) -> Tensor:
        """The logarithm of the mean of the members' probabilities, float32 [B, C]."""
        return mean_prediction([member.logits(images) for member in self.members])


def read_teacher(path: Path) -> tuple[Teacher, str]:
    """Load a teacher from a checkpoint; returns it and the SHA-256 of the file.

    Raises:
        UserError: raised by `fpcn_lightning.modules.checkpoints.load`, or the file changes while it is read.
    """
    digest = file_hash(path, TEACHER)
    try:
        teacher = Teacher(load(path))
    except UserError as error:
        raise UserError(f"distillation.teacher: {error}") from error
    if file_hash(path, TEACHER) != digest:
        raise UserError(f"distillation.teacher={path} is being written by a training: wait until that has finished.")
    return teacher, digest


def check_fits(record: CheckpointRecord, classes: Sequence[str], data: DataConfig, split: str) -> None:
    """Check that teacher and student have the same classes, the same views, and the same split.

    Args:
        record: of the teacher's checkpoint.
        classes: the student's class names in the order of their numbers.
        data: the student's section of the config.
        split: fingerprint of the student's data.

    Raises:
        UserError: the classes or their order, the preprocessing, or the split differ.
    """
    if record.classes != list(classes):
        raise UserError(
            f"distillation.teacher was trained on the classes {', '.join(record.classes)}, the data have "
            f"{', '.join(classes)}: teacher and student must have the same classes."
        )
    letterbox = LETTERBOX if data.fit == "letterbox" and not data.tiles else ()
    for key in (*SAME_VIEWS, *(TILED if data.tiles else SQUARE), *letterbox):
        theirs, ours = getattr(record.data, key), getattr(data, key)
        if theirs != ours:
            raise UserError(
                f"distillation.teacher was trained with data.{key}={theirs}, the student has {ours}: set "
                f"data.{key}={str(theirs).lower()}."
            )
    if record.split != split:
        raise UserError(
            "distillation.teacher was trained on another split, which may include the student's test images: use the "
            "teacher's split, data.split.file=TEACHER_RUN/split.csv."
        )


def lineage(path: Path, digest: str, record: CheckpointRecord) -> dict[str, Any]:
    """Identifies a teacher and its own teachers, for the student's record."""
    return {
        "checkpoint": path.as_posix(),
        "sha256": digest,
        "name": record.name,
        "variant": record.variant,
        "seed": record.seed,
        "split": record.split,
        "model": record.model,
        "teacher": record.teacher,
    }
