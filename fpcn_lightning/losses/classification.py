"""Cross-entropy of every view that a network classifies in a training step."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class SmoothedTerm(LossTerm):
    """A cross-entropy whose targets may be smoothed (Szegedy et al., CVPR 2016).

    Args:
        weight: of the term.
        label_smoothing: share of the target that is spread evenly over all classes, at least 0 and below 1.

    Raises:
        UserError: `label_smoothing` is out of range.
    """

    section: str  # of the config, for messages

    def __init__(self, weight: float, label_smoothing: float = 0.0) -> None:
        super().__init__(weight)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"{self.section}.label_smoothing={label_smoothing} must be at least 0 and below 1.")
        self.label_smoothing = label_smoothing

    def cross_entropy(self, logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """The smoothed cross-entropy of logits [N, C] in float32."""
        return functional.cross_entropy(
            logits.float(), targets, reduction=reduction, label_smoothing=self.label_smoothing
        )


class ClassificationTerm(SmoothedTerm):
    """Cross-entropy of `Views.logits`, each view weighted by the network (`Views.weights`), in float32.

    Args:
        weight, label_smoothing: see `SmoothedTerm`.
        logit_adjustment: this factor times the logarithm of the share of each class among the training images is added
            to the logits, so that rare classes are not predicted too rarely (Menon et al., ICLR 2021, section 5, with
            tau as the factor). For batches that are not balanced (`data.sampling=shuffled`).
        class_counts: number of training images of each class, filled in when the term is built.

    Raises:
        UserError: a number is out of range.
    """

    section = "loss.classification"
    takes_soft_targets = True
    adjustment: Tensor | None

    def __init__(
        self,
        weight: float,
        label_smoothing: float = 0.0,
        logit_adjustment: float = 0.0,
        class_counts: Sequence[int] = (),
    ) -> None:
        super().__init__(weight, label_smoothing)
        if not logit_adjustment >= 0:
            raise UserError(f"loss.classification.logit_adjustment={logit_adjustment} must not be negative.")
        counts = torch.tensor(class_counts, dtype=torch.float32).clamp(min=0.5)  # a class may have no training image
        adjustment = logit_adjustment * (counts / counts.sum()).log() if logit_adjustment else None
        self.register_buffer("adjustment", adjustment, persistent=False)

    def forward(self, views: Views, labels: Tensor) -> Tensor:  # noqa: ARG002 - views carry their own targets
        """Scalar >= 0: the mean over the views, or their weighted sum."""
        logits = views.logits.float()
        if self.adjustment is not None:
            logits = logits + self.adjustment
        if views.weights is None:
            return self.cross_entropy(logits, views.targets)
        return (views.weights * self.cross_entropy(logits, views.targets, "none")).sum()
