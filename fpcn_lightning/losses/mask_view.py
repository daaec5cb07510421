"""Cross-entropy of the closer view that a network cuts out around its mask."""

from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class MaskViewTerm(LossTerm):
    """Cross-entropy of `Views.mask_view` in float32, mean over the images.

    Args:
        weight: of the term.
        label_smoothing: share of the target that is spread over all classes, 0..1.

    Raises:
        UserError: `label_smoothing` is not in 0..1.
    """

    def __init__(self, weight: float, label_smoothing: float = 0.0) -> None:
        super().__init__(weight)
        if not 0 <= label_smoothing <= 1:
            raise UserError(f"loss.mask_view.label_smoothing={label_smoothing} must be in 0..1.")
        self.label_smoothing = label_smoothing

    def forward(self, views: Views, labels: Tensor) -> Tensor:
        """Scalar >= 0; 0 in the epochs in which the network has no closer views yet.

        Raises:
            UserError: the network has no closer views.
        """
        if views.mask_view is None:
            raise UserError(
                "this network has no closer view of its mask: set loss.mask_view.weight=0, or model.mask_view=box or "
                "window for FPCN."
            )
        logits = views.mask_view.float()
        if not len(logits):
            return logits.sum()
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
