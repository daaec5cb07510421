"""The interface of a term of the loss: one file, a weight, and a call with views and labels."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.views import Views


class LossTerm(nn.Module, ABC):
    """A term of the total loss, which is the sum of weight * term.

    A term is built from a section below `loss` in the config: `loss.NAME._target_` names its class and the other keys
    are its arguments. If its constructor has the parameters `classes` (number of classes C), `feature_dim` (channels D
    of `Views.features`) or `class_counts` (number of training images of each class), they are filled in. A term may
    have buffers, such as the centres of classes; they are saved in checkpoints. A term whose weight is 0 is not built.

    Args:
        weight: at least 0.

    Attributes:
        needs_labels: whether the term is undefined for images that were mixed from images of several classes.
        takes_soft_targets: whether `Views.targets` may be probabilities [V, C], those of mixed images.

    Raises:
        UserError: the weight is negative.
    """

    needs_labels: bool = True
    takes_soft_targets: bool = False

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise UserError(f"the weight of a loss term must not be negative: {weight}.")
        self.weight = weight

    @abstractmethod
    def forward(self, views: Views, labels: Tensor) -> Tensor:
        """The term, a scalar without its weight, of the views of images with labels, long [B]."""
