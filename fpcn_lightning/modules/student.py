"""The Lightning module of a student: the loss of a classifier, and a term that compares it with its teacher."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fpcn_lightning.config import DistillationConfig
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.cosine import cosine_preserving
from fpcn_lightning.losses.distillation import dist, dkd, kd, mixed, mixup_share
from fpcn_lightning.losses.hint import Hint
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.on_backbone import SingleView
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.modules.teacher import TeacherModel

METHODS = ("kd", "dkd", "dist", "function_matching", "hint", "cosine")
OF_FEATURES = ("hint", "cosine")
WITHOUT_LABELS = ("kd", "dist", "function_matching")
# These run the teacher in every step: no store holds logits of mixed images or features.
LIVE = ("function_matching", *OF_FEATURES)
TERM = "distillation"  # name of the term in logs and losses


def check(options: DistillationConfig) -> None:
    """Check the values of the section `distillation`.

    Raises:
        UserError: the method is unknown, or a number is out of range.
    """
    check_choice("distillation.method", options.method, METHODS)
    if not options.temperature > 0:
        raise UserError(f"distillation.temperature={options.temperature} must be above 0.")
    for key in ("weight", "target_weight", "other_weight", "between", "within", "warm_up_epochs"):
        if getattr(options, key) < 0:
            raise UserError(f"distillation.{key}={getattr(options, key)} must not be negative.")
    if not 0 < options.unlabelled_share < 1:
        raise UserError(f"distillation.unlabelled_share={options.unlabelled_share} must be above 0 and below 1.")
    if options.unlabelled is not None and options.method not in WITHOUT_LABELS:
        raise UserError(
            f"distillation.method={options.method} needs the class or the features of every photograph, which those of "
            f"distillation.unlabelled do not have: use {', '.join(WITHOUT_LABELS)}."
        )


def check_single_views(network: Network) -> None:
    """Check that a network has one prediction for each image of a batch, so that some may be without a class.

    Raises:
        UserError: it trains on pairs or regions, which are chosen by the class of each image.
    """
    if type(network).views is not SingleView.views:
        raise UserError(
            f"distillation.unlabelled adds photographs without a class, but {type(network).__name__} chooses pairs or "
            "regions by the class of each image: use a plain student, such as model=plain or model=mobilenetv2."
        )


def uses_store(options: DistillationConfig) -> bool:
    """Whether the teacher's logits are read from a store."""
    return options.stored and options.method not in LIVE


def needs_features(options: DistillationConfig) -> bool:
    """Whether the method compares features, not logits."""
    return options.method in OF_FEATURES


class StoredLogits(Protocol):
    """Stored logits of a teacher, of the views of one epoch after the other."""

    def epoch(self, number: int) -> NDArray[np.float32]:
        """The logits [N, C] in epoch `number`."""


class Student(Classifier):
    """A `Classifier` with one more term in its loss; see `fpcn_lightning.losses.distillation` for the methods.

    The FPCN paper trains its students by `kd` (equations 13 and 14). Teacher and student see the same view of an image.

    Args:
        distillation: the section of the config.
        teacher: what is trained already.
        store: the teacher's logits; None runs the teacher in every step.
        rows: long [P], row in the store of each image by its position in batches, -1 for those that are not trained on.
        unlabelled: number of images without a class at the end of every batch.
        args, others: see `Classifier`.

    Raises:
        UserError: the method mixes images, and a term of the loss needs their labels.
    """

    rows: Tensor

    def __init__(
        self,
        *args: Any,
        distillation: DistillationConfig,
        teacher: TeacherModel,
        store: StoredLogits | None,
        rows: Tensor,
        unlabelled: int = 0,
        **others: Any,
    ) -> None:
        super().__init__(*args, **others)
        self._unlabelled = unlabelled
        self.weights[TERM] = distillation.weight
        self.distillation = distillation
        self.store = store
        self._teacher = teacher
        self.hint = Hint(self.network.feature_dim, teacher.feature_dim or 0) if self._method == "hint" else None
        self.register_buffer("rows", rows, persistent=False)
        self._check_labels()

    @property
    def _method(self) -> str:
        return self.distillation.method

    def _check_labels(self) -> None:
        needing = [name for name, term in self.terms.items() if term.needs_labels]
        if self._method == "function_matching" and needing:
            raise UserError(
                "distillation.method=function_matching mixes images, and mixed images have no label: set "
                f"loss.{needing[0]}.weight=0."
            )

    def training_images(self, batch: Batch) -> Tensor:
        """The images as they are, or each mixed with another of the batch for function matching."""
        if self._method != "function_matching":
            return batch.images
        # A batch is sorted by class: the next image would mostly be of the same.
        return mixed(batch.images, mixup_share(), torch.randperm(len(batch.images), device=batch.images.device))

    def labelled(self, views: Views, labels: Tensor) -> tuple[Views, Tensor]:
        """The views and labels of the images that have a class."""
        if not self._unlabelled:
            return views, labels
        count = len(labels) - self._unlabelled
        return Views(
            views.logits[:count], views.targets[:count], views.own_logits[:count], views.features[:count]
        ), labels[:count]

    def further_terms(self, views: Views, batch: Batch, images: Tensor) -> dict[str, Tensor]:
        """The term that compares the student with the teacher."""
        if self.hint is not None:
            return {TERM: self._warmed_up(self.hint(views.features, self._teacher.features(images, batch.labels)))}
        if self._method == "cosine":
            theirs = self._teacher.features(images, batch.labels)
            return {TERM: self._warmed_up(cosine_preserving(views.features, theirs))}
        teacher = self._teacher_logits(batch, images)
        if self._method != "function_matching":
            size = len(batch.labels) - self._unlabelled
            accuracy = (teacher[:size].argmax(1) == batch.labels[:size]).float().mean()
            self.log("teacher/accuracy", accuracy, on_step=False, on_epoch=True, batch_size=size)
        return {TERM: self._warmed_up(self._loss(views.own_logits, teacher, batch.labels))}

    def further_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the loss terms, and the regressor of a hint."""
        return [*super().further_parameters(), *(() if self.hint is None else self.hint.parameters())]

    def _teacher_logits(self, batch: Batch, images: Tensor) -> Tensor:
        """The teacher's logits [B, C] for the views of a batch."""
        if self.store is None:
            return self._teacher.logits(images)
        rows = self.rows[batch.positions]
        stored = self.store.epoch(self.current_epoch)[rows.cpu().numpy()]
        return torch.from_numpy(stored).to(images.device)

    def _loss(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        options, temperature = self.distillation, self.distillation.temperature
        if self._method == "dkd":
            return dkd(student, teacher, labels, temperature, options.target_weight, options.other_weight)
        if self._method == "dist":
            return dist(student, teacher, temperature, options.between, options.within)
        return kd(student, teacher, temperature)

    def _warmed_up(self, term: Tensor) -> Tensor:
        """The term, scaled down in the warm-up epochs."""
        epochs = self.distillation.warm_up_epochs
        return term * min(1.0, (self.current_epoch + 1) / epochs) if epochs else term
