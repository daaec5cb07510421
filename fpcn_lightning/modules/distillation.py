"""The teacher of a student, loaded and checked, and the teacher's logits, stored or computed in every step."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.config import DistillationConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.logits_store import LogitsStore, store_name
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.student import Student, check, uses_store
from fpcn_lightning.modules.teacher import check_fits, lineage, read_teacher

logger = logging.getLogger(__name__)

# Keys of an augmentation that change no training view; the crop of evaluation does, where tiles must fit an image.
ONLY_IN_EVALUATION = ("max_tiles", "mirrored_views")
# Stores of trainings without these options are named as before there were any.
ADDED_LATER = {"saturation": 0.0, "crop_scale": (1.0, 1.0), "quarter_turns": False}
FUNCTIONS = "further"  # an augmentation's key of functions, which the config describes


class Distillation:
    """The teacher of one student.

    Args:
        options: the section `distillation` of the config, with a teacher.
        data: the images, after `setup`.

    Attributes:
        lineage: of the teacher, plain data for the student's record.

    Raises:
        UserError: the section is invalid, or the teacher cannot be read or does not fit.
    """

    def __init__(self, options: DistillationConfig, data: RockDataModule) -> None:
        self.options = options
        check(options)
        if options.teacher is None:
            raise UserError("teacher is not set: pass the checkpoint to learn from, teacher=RUN/checkpoints/best.ckpt.")
        path = Path(options.teacher)
        self.teacher, digest = read_teacher(path)
        check_fits(self.teacher.record, data.classes, data.config, data.split.fingerprint)
        self.lineage = lineage(path, digest, self.teacher.record)
        self.data = data
        self.store = self._store() if uses_store(self.options) else None

    def student(self, *args: Any, **parts: Any) -> Student:
        """The module that is trained; the arguments are those of `Classifier`."""
        return Student(
            *args, distillation=self.options, teacher=self.teacher, store=self.store, rows=self._rows(), **parts
        )

    def fill(self, epochs: int, device: torch.device) -> None:
        """Compute and store the teacher's logits of the first `epochs` epochs that are not stored yet.

        Raises:
            UserError: raised by `LogitsStore`.
        """
        if self.store is None:
            return
        stored = sum(self.store.has(epoch) for epoch in range(epochs))
        with tqdm(total=epochs, initial=stored, unit="epoch", desc="teacher's logits", disable=stored == epochs) as bar:
            self.store.fill(epochs, lambda epoch: self._logits(epoch, device), lambda _: bar.update())
        if stored < epochs:
            logger.info("the teacher's logits of %d epochs are in %s", epochs, self.store.folder)

    def _logits(self, epoch: int, device: torch.device) -> NDArray[np.float32]:
        batches = self.data.views_of_epoch(epoch)
        return np.concatenate([self.teacher.logits(batch.images.to(device)).cpu().numpy() for batch in batches])

    def _store(self) -> LogitsStore | None:
        augmentation, further = self.data.augmentation, self.data.config.augmentations
        key = {
            "teacher": self.lineage["sha256"],
            "data": self.data.split.fingerprint,
            "views": {
                "rule": type(augmentation).__name__,
                "seed": self.data.view_seed,
                **{
                    name: value
                    for name, value in asdict(augmentation).items()
                    if name not in (*ONLY_IN_EVALUATION, FUNCTIONS)
                    and (name not in ADDED_LATER or value != ADDED_LATER[name])
                },
                **({"augmentations": further} if further else {}),
            },
        }
        directory = self.data.cache_directory
        if self.options.store is not None:
            folder = Path(self.options.store)
        elif directory is not None:
            folder = directory / store_name(key)
        else:
            logger.warning("no folder for the teacher's logits: it runs in every step; set distillation.store=FOLDER")
            return None
        return LogitsStore(folder, key, len(self.data.split.train), len(self.data.classes))

    def _rows(self) -> torch.Tensor:
        """The row in the store of each image of the index, -1 for those that are not trained on."""
        rows = torch.full((len(self.data.pictures.pictures),), -1)
        rows[torch.tensor(self.data.split.train)] = torch.arange(len(self.data.split.train))
        return rows
