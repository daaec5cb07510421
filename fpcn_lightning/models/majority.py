"""The majority-class baseline: predicts the class with the most training images for every image."""

import torch
from torch import Tensor, nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.network import Network, NetworkOutput


class Majority(Network):
    """One logit per class: the logarithm of its share of the training images.

    Its probabilities are these shares, its accuracy is the share of the largest class; of equally large classes the
    first is predicted. Balanced batches show every class equally often, so each image is weighted by the share of its
    class, and the loss is at its minimum from the start.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels; any.
    """

    mean, std = (0.5,) * 3, (0.5,) * 3
    weights_source = "counted"
    feature_dim = 1

    def __init__(self, classes: int, image_size: int) -> None:  # noqa: ARG002 - every network takes the size
        super().__init__()
        self.body = nn.Identity()
        self.logarithms = nn.Parameter(torch.zeros(classes))

    @property
    def trunk(self) -> nn.Module:
        """An empty module: there are no pretrained weights."""
        return self.body

    def set_class_counts(self, counts: Tensor) -> None:
        """Set the shares from the number of training images [C] of each class; none counts as half an image."""
        with torch.no_grad():
            self.logarithms.copy_((counts / counts.sum()).clamp(min=0.5 / counts.sum()).log())

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C], the same for every image."""
        return NetworkOutput({"plain": self._logits(images)})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every image once, weighted by the share of its class."""
        logits = self._logits(images)
        present = labels.bincount(minlength=len(self.logarithms))[labels]
        weights = self.logarithms.detach().softmax(0)[labels] / present
        return Views(logits, labels, logits, images.new_zeros(len(images), 1), weights=weights)

    def _logits(self, images: Tensor) -> Tensor:
        return self.logarithms + images.new_zeros(images.shape[0], 1)
