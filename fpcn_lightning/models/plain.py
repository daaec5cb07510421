"""The baseline that every other network has to beat under the same recipe: backbone, mean over the map, linear."""

from pathlib import Path

from torch import Tensor, nn

from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.network import Answers, Network, Views, average


class Plain(Network):
    """Backbone, global average pooling, one linear layer.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
    """

    def __init__(
        self, classes: int, image_size: int, backbone: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, image_size=image_size, pretrained=pretrained, weights_file=weights)
        self.head = nn.Linear(self.backbone.channels, classes)
        self.mean, self.std = self.backbone.mean, self.backbone.std
        self.weights_source = self.backbone.weights_source
        self.fixed_size = self.backbone.fixed_size
        self.feature_dim = self.backbone.channels

    @property
    def trunk(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def answers(self, images: Tensor) -> Answers:
        """Logits [B, C]."""
        return Answers({"plain": self.head(self._pooled(images))})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture once, by itself."""
        features = self._pooled(images)
        logits = self.head(features)
        return Views(logits, labels, own_logits=logits, features=features)

    def _pooled(self, images: Tensor) -> Tensor:
        return average(self.backbone(images).last)
