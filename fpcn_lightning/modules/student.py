"""The Lightning module of a student: what it learns from labels, and what from its teacher beside that."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fpcn_lightning.data.logits_store import LogitsStore
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.distillation import dist, dkd, kd, mixed, mixup_share
from fpcn_lightning.losses.hint import Hint
from fpcn_lightning.models.network import Views
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.modules.teacher import Teacher

METHODS = ("kd", "dkd", "dist", "function_matching", "hint")
LIVE = ("function_matching", "hint")  # ask the teacher what no store can hold: mixed pictures, feature vectors
OF_LABELS = ("classification", "ranking", "contrastive", "center")  # terms of the loss
TERM = "distillation"  # name of the term in logs and losses


def check(options: Mapping[str, Any], loss: Mapping[str, Any]) -> None:
    """Refuse what no type can say about the section `distillation`.

    Args:
        options: the section.
        loss: the section `loss`.

    Raises:
        UserError: an unknown method, a number out of range, or labels under mixed pictures.
    """
    check_choice("distillation.method", options["method"], METHODS)
    if not options["temperature"] > 0:
        raise UserError(f"distillation.temperature={options['temperature']} must be above 0.")
    for key in ("weight", "target_weight", "other_weight", "between", "within", "warm_up_epochs"):
        if options[key] < 0:
            raise UserError(f"distillation.{key}={options[key]} must not be negative.")
    if options["method"] == "function_matching":
        for term in OF_LABELS:
            if loss[term]:
                raise UserError(
                    "distillation.method=function_matching mixes pictures, which have no label then: set "
                    f"loss.{term}=0."
                )


def uses_store(options: Mapping[str, Any]) -> bool:
    """Whether the teacher's answers come out of a store."""
    return bool(options["stored"]) and options["method"] not in LIVE


class Student(Classifier):
    """A `Classifier` with one more term in its loss; see `fpcn_lightning.losses.distillation` for the methods.

    The FPCN paper's students learn by `kd` (equations 13 and 14). Teacher and student see the same view of a picture.

    Args:
        distillation: the section of the config.
        teacher: whom it learns from.
        store: the teacher's answers; None asks the teacher in every step.
        rows: place [P] in the store of each picture of the index, -1 for those that are not trained on.
        loss, others: see `Classifier`.
    """

    rows: Tensor

    def __init__(
        self,
        *args: Any,
        distillation: Mapping[str, Any],
        teacher: Teacher,
        store: LogitsStore | None,
        rows: Tensor,
        loss: Mapping[str, Any],
        **others: Any,
    ) -> None:
        super().__init__(*args, loss={**loss, TERM: distillation["weight"]}, **others)
        self.distillation = dict(distillation)
        self.store = store
        self._teacher = teacher
        self.hint = Hint(self.network.feature_dim, teacher.feature_dim) if self._method == "hint" else None
        self.register_buffer("rows", rows, persistent=False)

    @property
    def _method(self) -> str:
        return str(self.distillation["method"])

    def training_images(self, batch: Batch) -> Tensor:
        """The pictures as they are, or each mixed with another of the batch for function matching."""
        if self._method != "function_matching":
            return batch.images
        # A batch lies class by class: the next picture would mostly be of the same.
        return mixed(batch.images, mixup_share(), torch.randperm(len(batch.images), device=batch.images.device))

    def further_terms(self, views: Views, batch: Batch, images: Tensor) -> dict[str, Tensor]:
        """What the teacher's answers make of the student's."""
        if self.hint is not None:
            return {TERM: self._grown(self.hint(views.features, self._teacher.features(images, batch.labels)))}
        told = self._told(batch, images)
        if self._method != "function_matching":
            accuracy = (told.argmax(1) == batch.labels).float().mean()
            size = len(batch.labels)
            self.log("teacher/accuracy", accuracy, on_step=False, on_epoch=True, batch_size=size)
        return {TERM: self._grown(self._loss(views.own_logits, told, batch.labels))}

    def parameters_beside(self) -> Iterable[nn.Parameter]:
        """The regressor of a hint."""
        return () if self.hint is None else self.hint.parameters()

    def _told(self, batch: Batch, images: Tensor) -> Tensor:
        """The teacher's logits [B, C] for the views of a batch."""
        if self.store is None:
            return self._teacher.logits(images)
        rows = self.rows[batch.positions]
        stored = self.store.epoch(self.current_epoch)[rows.cpu().numpy()]
        return torch.from_numpy(stored).to(images.device)

    def _loss(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        options, temperature = self.distillation, self.distillation["temperature"]
        if self._method == "dkd":
            return dkd(student, teacher, labels, temperature, options["target_weight"], options["other_weight"])
        if self._method == "dist":
            return dist(student, teacher, temperature, options["between"], options["within"])
        return kd(student, teacher, temperature)

    def _grown(self, term: Tensor) -> Tensor:
        """The term, smaller in the epochs of its warm-up."""
        epochs = self.distillation["warm_up_epochs"]
        return term * min(1.0, (self.current_epoch + 1) / epochs) if epochs else term
