"""An exported bundle as a teacher: its ONNX file, run as `fpcn` runs it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpcn_lightning.data.augment import Square
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle, read_bundle
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.modules.teacher import TeacherModel
from fpcn_lightning.modules.teacher_files import TEACHER

_LEAST = float(np.finfo(np.float32).tiny)  # of a probability, so that its logarithm is finite
_MAX_TEXT = 200  # characters of a text that is copied into a record


class BundleTeacher(TeacherModel):
    """The network of a bundle; its logits are the logarithms of its probabilities before their calibration.

    They differ from those of the checkpoint by a number for each picture, which no softmax shows. It has no features.

    Args:
        folder: of the bundle.

    Raises:
        UserError: the bundle cannot be read, or its network cannot be run.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.bundle: Bundle = read_bundle(folder)
            self._model = BundleModel(self.bundle, threads=torch.get_num_threads())
        except UserError as error:
            raise UserError(f"{TEACHER}: {error}") from error
        self.side = self.bundle.views.evaluation_size

    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 [B, C], of images [B, 3, S, S], values 0..255, rounded to whole bytes."""
        pixels = images.detach().round().to("cpu", torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        probabilities = torch.from_numpy(self._model(pixels).probabilities).clamp_min(_LEAST)
        return (probabilities.log() * self.bundle.temperature).to(images.device)


def check_bundle_fits(bundle: Bundle, data: RockDataModule) -> None:
    """Check that a bundle and a student have the same classes, the same views, and the same split.

    Raises:
        UserError: they differ, or the bundle does not state its split.
    """
    if bundle.classes != tuple(data.classes):
        raise UserError(
            f"{TEACHER} is a bundle of the classes {', '.join(bundle.classes)}, the data have "
            f"{', '.join(data.classes)}: teacher and student must have the same classes."
        )
    theirs, ours = _prepared(bundle.views), _prepared(data.augmentation)
    if theirs != ours:
        raise UserError(
            f"{TEACHER} is a bundle for pictures with {_in_words(theirs)}, the student's have {_in_words(ours)}: pass "
            "the checkpoint that the bundle was exported from, or train the student with the same."
        )
    if bundle.views.evaluation_size != data.config.crop:
        raise UserError(
            f"{TEACHER} is a bundle that takes views of {bundle.views.evaluation_size} px only, and the student learns "
            f"from crops of data.crop={data.config.crop}: pass the checkpoint that it was exported from, or set "
            f"data.crop={bundle.views.evaluation_size}."
        )
    if bundle.lineage.get("split") != data.split.fingerprint:
        raise UserError(
            f"{TEACHER} is a bundle that was trained on another split, or does not state its split, so that it may "
            "have seen the student's test images: use the teacher's split, data.split.file=TEACHER_RUN/split.csv."
        )


def bundle_lineage(bundle: Bundle, digest: str) -> dict[str, Any]:
    """Identifies the bundle for the student's record, as `fpcn_lightning.modules.teacher.lineage` does a checkpoint."""
    found: Mapping[str, object] = bundle.lineage
    return {
        "checkpoint": bundle.folder.as_posix(),
        "sha256": digest,
        **{key: _plain(found.get(key)) for key in ("name", "variant", "seed", "split")},
        "model": {"_target_": _plain(found.get("network")), "backbone": _plain(found.get("backbone"))},
        "teacher": None,
    }


def _plain(value: object) -> str | int | None:
    """A text or number of a foreign file."""
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    return value if isinstance(value, int) else None


def _prepared(views: object) -> Sequence[tuple[str, object]]:
    """What is done to a picture before views are cut from it, as keys of the config."""
    if isinstance(views, Tiling):
        return (("data.tiles", "true"), ("data.tile_scale", views.tile_scale))
    assert isinstance(views, Square)
    fit = (("data.fit", views.square.how), ("data.resize", views.resize))
    return (*fit, ("data.fill", tuple(views.square.fill))) if views.square.how == "letterbox" else fit


def _in_words(prepared: Sequence[tuple[str, object]]) -> str:
    return " ".join(f"{key}={value}" for key, value in prepared)
