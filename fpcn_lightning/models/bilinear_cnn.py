"""Bilinear CNN: Lin, RoyChowdhury, Maji, "Bilinear CNN Models for Fine-grained Visual Recognition", ICCV 2015."""

from pathlib import Path

from torch import Tensor, nn

from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.bilinear_pooling import bilinear_pool
from fpcn_lightning.models.network import Answers, Network, Views


class BilinearCNN(Network):
    """Backbone, the outer product of its map with itself pooled over the positions, one linear layer.

    The symmetric variant ("D, D"). Its map is that of the last convolution: the pooling after it, which VGG and AlexNet
    have, is taken out. Published training has two steps, the linear layer alone and then everything
    (`model=bilinear_cnn_own`). What the linear layer sees has length 1, in many small entries: it needs a learning rate
    about a hundred times that of the backbone.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`. With D channels the linear layer
            has C * D * D weights: 0.8 million for three classes and VGG-16, 12.6 million for ResNet-50.
    """

    def __init__(
        self, classes: int, image_size: int, backbone: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        self.backbone = Backbone(backbone, image_size=image_size, pretrained=pretrained, weights_file=weights)
        _drop_last_pooling(getattr(self.backbone.model, "features", self.backbone.model))
        self.feature_dim = self.backbone.channels**2
        self.head = nn.Linear(self.feature_dim, classes)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.mean, self.std = self.backbone.mean, self.backbone.std
        self.weights_source = self.backbone.weights_source
        self.fixed_size = self.backbone.fixed_size

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
        maps = self.backbone(images).last
        return bilinear_pool(maps, maps)


def _drop_last_pooling(layers: nn.Module) -> None:
    """Put nothing in the place of a max-pooling that a sequence of layers ends with."""
    while isinstance(layers, nn.Sequential) and len(layers):
        last = layers[-1]
        if isinstance(last, nn.MaxPool2d):
            layers[-1] = nn.Identity()
        layers = last
