"""Cross-entropy of the closer view that a network cuts out around its mask."""

from torch import Tensor

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.classification import SmoothedTerm
from fpcn_lightning.losses.views import Views


class MaskViewTerm(SmoothedTerm):
    """Cross-entropy of `Views.mask_view` in float32, mean over the images.

    Args:
        weight, label_smoothing: see `SmoothedTerm`.
    """

    section = "loss.mask_view"

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
        return self.cross_entropy(views.mask_view, labels) if len(views.mask_view) else views.mask_view.float().sum()
