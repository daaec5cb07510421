"""The teacher of a student, loaded and checked, and the teacher's logits, stored or computed in every step."""

import logging
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch

from fpcn_lightning.config import DistillationConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.unlabelled import UnlabelledImages
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.modules.bundle_teacher import BundleTeacher, bundle_lineage, check_bundle_fits
from fpcn_lightning.modules.student import Student, check, check_single_views, needs_features, uses_store
from fpcn_lightning.modules.teacher import Ensemble, Teacher, TeacherModel, check_fits, lineage, read_teacher
from fpcn_lightning.modules.teacher_files import TEACHER, TeacherFile, teacher_digest, teacher_files
from fpcn_lightning.modules.teacher_logits import TaughtImages, TeacherLogits, TeacherMember, views_key
from fpcn_lightning.modules.teacher_measures import teacher_metrics
from fpcn_lightning.modules.unlabelled_leaks import find_unlabelled
from fpcn_lightning.runs.results import Metrics

logger = logging.getLogger(__name__)


class Distillation:
    """The teacher of one student.

    Args:
        options: the section `distillation` of the config, with a teacher.
        data: the images, after `setup`.

    Attributes:
        teacher: the network that teaches, or an ensemble of several.
        digest: identifies it.
        lineage: of the teacher, plain data for the student's record.

    Raises:
        UserError: the section is invalid, or the teacher cannot be read or does not fit.
    """

    def __init__(self, options: DistillationConfig, data: RockDataModule) -> None:
        self.options, self.data = options, data
        check(options)
        if options.teacher is None:
            raise UserError("teacher is not set: pass the checkpoint to learn from, teacher=RUN/checkpoints/best.ckpt.")
        files = teacher_files(options.teacher)
        self.members = [_read(file, data) for file in files]
        self.digest = teacher_digest(files)
        models = [member.model for member in self.members]
        self.teacher: TeacherModel = models[0] if len(models) == 1 else Ensemble(models)
        if needs_features(options) and self.teacher.feature_dim is None:
            raise UserError(
                f"distillation.method={options.method} compares features, which a bundle or an ensemble of several "
                f"networks does not have: pass one checkpoint as {TEACHER}, or use a method of logits, such as kd."
            )
        lineages = [member.lineage for member in self.members]
        self.lineage = lineages[0] if len(files) == 1 else _of_ensemble(options.teacher, self.digest, lineages)

    def add_unlabelled(self, network: Network) -> UnlabelledImages | None:
        """Have the photographs of `distillation.unlabelled` join the batches of training, if it is set.

        The backbone of the teacher describes them, or that of the student, to find near copies of those that the
        student is evaluated on.

        Args:
            network: the student, not yet trained.

        Raises:
            UserError: there are none, the student cannot use them, or there is no backbone.
        """
        if self.options.unlabelled is None:
            return None
        check_single_views(network)
        known = [member.model.network for member in self.members if isinstance(member.model, Teacher)]
        describing = next((each for each in (*known, network) if isinstance(each, OnBackbone)), None)
        if describing is None:
            raise UserError(
                "distillation.unlabelled: near copies of test photographs are found with the backbone of the teacher "
                "or of the student, and neither has one: use a teacher on a backbone, such as model=probe."
            )
        found = find_unlabelled(self.options.unlabelled, self.options.unlabelled_share, self.data, describing)
        logger.info("%d photographs without a class, %d left out", len(found.images), len(found.left_out))
        self.data.unlabelled = found
        return found

    @cached_property
    def logits(self) -> TeacherLogits | None:
        """The stored logits of the teacher; None where it runs in every step."""
        return self._logits() if uses_store(self.options) else None

    def student(self, *args: Any, **parts: Any) -> Student:
        """The module that is trained; the arguments are those of `Classifier`."""
        samples, classes = self.data.batch_shape()
        return Student(
            *args,
            distillation=self.options,
            teacher=self.teacher,
            store=self.logits,
            rows=self._rows(),
            unlabelled=self.data.rows_of_step - samples * classes,
            **parts,
        )

    def fill(self, epochs: int, device: torch.device) -> None:
        """Compute and store the teacher's logits of the first `epochs` epochs that are not stored yet.

        Raises:
            UserError, WriteError: raised by `TeacherLogits.fill`.
        """
        if self.logits is not None:
            self.logits.fill(epochs, device)

    def runs_to_pay(self, steps: int) -> float | None:
        """After how many runs the stored logits cost less than a teacher that runs in every step.

        Args:
            steps: of an epoch, those of all processes.

        Returns:
            The views of an epoch that `fill` stores by those that the training reads; None where none are stored.
        """
        return None if self.logits is None else self.logits.images / (steps * self.data.rows_of_step)

    def measured(self, split: Literal["val", "test"], device: torch.device) -> Metrics | None:
        """The teacher's own metrics on a split; see `teacher_metrics`."""
        return teacher_metrics(self.teacher, self.digest, self.data, split, device)

    def _logits(self) -> TeacherLogits | None:
        directory = self.data.cache_directory if self.options.store is None else Path(self.options.store)
        if directory is None:
            logger.warning("no folder for the teacher's logits: it runs in every step; set distillation.store=FOLDER")
            return None
        split = self.data.split
        images = [TaughtImages({"data": split.fingerprint}, len(split.train), self.data.views_of_epoch)]
        if (further := self.data.unlabelled) is not None:
            size, workers = max(1, self.data.config.evaluation_batch_size), self.data.config.workers
            views = partial(further.views_of_epoch, size=size, workers=workers)
            images.append(TaughtImages({"unlabelled": further.fingerprint}, len(further.images), views))
        return TeacherLogits(
            self.members,
            images,
            directory,
            views_key(self.data),
            len(self.data.classes),
            own_folder=self.options.store is not None,
        )

    def _rows(self) -> torch.Tensor:
        """The row in the stores of each image of the index, -1 for those that are not trained on, then of those without
        a class.
        """
        train = self.data.split.train
        rows = torch.full((len(self.data.pictures.pictures),), -1)
        rows[torch.tensor(train)] = torch.arange(len(train))
        further = 0 if self.data.unlabelled is None else len(self.data.unlabelled.images)
        return torch.cat([rows, len(train) + torch.arange(further)])


def _read(file: TeacherFile, data: RockDataModule) -> TeacherMember:
    """A network of the teacher, after the checks that it must pass."""
    if file.is_bundle:
        bundle = BundleTeacher(file.path.parent)
        check_bundle_fits(bundle.bundle, data)
        return TeacherMember(bundle, file.digest, bundle_lineage(bundle.bundle, file.digest))
    teacher, digest = read_teacher(file.path)
    check_fits(teacher.record, data.classes, data.config, data.split.fingerprint)
    return TeacherMember(teacher, digest, lineage(file.path, digest, teacher.record))


def _of_ensemble(named: str, digest: str, members: list[dict[str, Any]]) -> dict[str, Any]:
    """Identifies an ensemble, for the student's record; a card shows name, variant and network as one teacher's."""
    return {
        "checkpoint": named,
        "sha256": digest,
        "name": "ensemble",
        "variant": f"of-{len(members)}",
        "seed": None,
        "split": members[0]["split"],
        "model": {"_target_": f"mean of {len(members)} networks"},
        "teacher": None,
        "members": members,
    }
