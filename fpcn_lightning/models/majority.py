"""The baseline that looks at nothing: every picture is of the class that most pictures are trained on."""

import torch
from torch import Tensor, nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.network import Network, NetworkOutput


class Majority(Network):
    """One number a class: the logarithm of its share of the training pictures.

    Its probabilities are these shares, its accuracy is the share of the largest class; of equally large classes the
    first is chosen. Balanced batches show every class equally often, so each picture counts by its class's share,
    and the loss is at its minimum from the start.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels; any.
    """

    mean, std = (0.5,) * 3, (0.5,) * 3
    weights_source = "counted"
    feature_dim = 1

    def __init__(self, classes: int, image_size: int) -> None:  # noqa: ARG002 - every network is told the size
        super().__init__()
        self.body = nn.Identity()
        self.logarithms = nn.Parameter(torch.zeros(classes))

    @property
    def trunk(self) -> nn.Module:
        """Nothing."""
        return self.body

    def see_class_counts(self, counts: Tensor) -> None:
        """Take the shares of the classes from how many pictures [C] each has; one without any counts as half of one."""
        with torch.no_grad():
            self.logarithms.copy_((counts / counts.sum()).clamp(min=0.5 / counts.sum()).log())

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C], the same for every picture."""
        return NetworkOutput({"plain": self._logits(images)})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture once, by the share of its class."""
        logits = self._logits(images)
        present = labels.bincount(minlength=len(self.logarithms))[labels]
        weights = self.logarithms.detach().softmax(0)[labels] / present
        return Views(logits, labels, logits, images.new_zeros(len(images), 1), weights=weights)

    def _logits(self, images: Tensor) -> Tensor:
        return self.logarithms + images.new_zeros(images.shape[0], 1)
