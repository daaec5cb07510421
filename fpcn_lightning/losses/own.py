"""Cross-entropy of the one prediction that is deployed for each image, beside that of pairs or further views."""

from torch import Tensor

from fpcn_lightning.losses.classification import SmoothedTerm
from fpcn_lightning.losses.views import Views


class OwnTerm(SmoothedTerm):
    """Cross-entropy of `Views.own_logits` in float32, mean over the images.

    Networks that classify pairs in training (FPCN, API-Net) have no image classified by itself there, only at
    inference. With this term they have, and pairs, ranking and centres act as regularisation. For networks that
    classify every image by itself it is the classification term once more.

    Args:
        weight, label_smoothing: see `SmoothedTerm`.
    """

    section = "loss.own"

    def forward(self, views: Views, labels: Tensor) -> Tensor:
        """Scalar >= 0."""
        return self.cross_entropy(views.own_logits, labels)
