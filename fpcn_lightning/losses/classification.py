"""Cross-entropy of every view that a network classifies in a training step."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class ClassificationTerm(LossTerm):
    """Cross-entropy of `Views.logits`, each view weighted by the network (`Views.weights`), in float32.

    Args:
        weight: of the term.
        label_smoothing: share of the target that is spread evenly over all classes, 0..1 (Szegedy et al., CVPR 2016).
        logit_adjustment: this factor times the logarithm of the share of each class among the training images is added
            to the logits, so that rare classes are not predicted too rarely (Menon et al., ICLR 2021, section 5, with
            tau as the factor). For batches that are not balanced (`data.sampling=shuffled`).
        class_counts: number of training images of each class, filled in when the term is built.

    Raises:
        UserError: a number is out of range.
    """

    takes_soft_targets = True
    adjustment: Tensor | None

    def __init__(
        self,
        weight: float,
        label_smoothing: float = 0.0,
        logit_adjustment: float = 0.0,
        class_counts: Sequence[int] = (),
    ) -> None:
        super().__init__(weight)
        if not 0 <= label_smoothing < 1:
            raise UserError(f"loss.classification.label_smoothing={label_smoothing} must be at least 0 and below 1.")
        if not logit_adjustment >= 0:
            raise UserError(f"loss.classification.logit_adjustment={logit_adjustment} must not be negative.")
        self.label_smoothing = label_smoothing
        counts = torch.tensor(class_counts, dtype=torch.float32).clamp(min=0.5)  # a class may have no training image
        adjustment = logit_adjustment * (counts / counts.sum()).log() if logit_adjustment else None
        self.register_buffer("adjustment", adjustment, persistent=False)

    def forward(self, views: Views, labels: Tensor) -> Tensor:  # noqa: ARG002 - views carry their own targets
        """Scalar >= 0: the mean over the views, or their weighted sum."""
        logits = views.logits.float()
        if self.adjustment is not None:
            logits = logits + self.adjustment
        smoothing = self.label_smoothing
        if views.weights is None:
            return functional.cross_entropy(logits, views.targets, label_smoothing=smoothing)
        losses = functional.cross_entropy(logits, views.targets, reduction="none", label_smoothing=smoothing)
        return (views.weights * losses).sum()
