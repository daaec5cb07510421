"""Cross-entropy of every view that a network classifies in a training step."""

from torch import Tensor
from torch.nn import functional

from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class ClassificationTerm(LossTerm):
    """Cross-entropy of `Views.logits`, each view weighted by the network (`Views.weights`), in float32."""

    def forward(self, views: Views, labels: Tensor) -> Tensor:  # noqa: ARG002 - views carry their own targets
        """Scalar >= 0: the mean over the views, or their weighted sum."""
        if views.weights is None:
            return functional.cross_entropy(views.logits.float(), views.targets)
        losses = functional.cross_entropy(views.logits.float(), views.targets, reduction="none")
        return (views.weights * losses).sum()
