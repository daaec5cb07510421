"""Cross-entropy of the one prediction that is deployed for each image, beside that of pairs or further views."""

from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class OwnTerm(LossTerm):
    """Cross-entropy of `Views.own_logits` in float32, mean over the images.

    Networks that classify pairs in training (FPCN, API-Net) have no image classified by itself there, only at
    inference. With this term they have, and pairs, ranking and centres act as regularisation. For networks that
    classify every image by itself it is the classification term once more.

    Args:
        weight: of the term.
        label_smoothing: share of the target that is spread over all classes, 0..1.

    Raises:
        UserError: `label_smoothing` is not in 0..1.
    """

    def __init__(self, weight: float, label_smoothing: float = 0.0) -> None:
        super().__init__(weight)
        if not 0 <= label_smoothing <= 1:
            raise UserError(f"loss.own.label_smoothing={label_smoothing} must be in 0..1.")
        self.label_smoothing = label_smoothing

    def forward(self, views: Views, labels: Tensor) -> Tensor:
        """Scalar >= 0."""
        return functional.cross_entropy(views.own_logits.float(), labels, label_smoothing=self.label_smoothing)
