"""Bilinear CNN: Lin, RoyChowdhury, Maji, "Bilinear CNN Models for Fine-grained Visual Recognition", ICCV 2015."""

from pathlib import Path

from torch import Tensor, nn

from fpcn_lightning.models.bilinear_pooling import bilinear_pool
from fpcn_lightning.models.on_backbone import OnBackbone, SingleView


class BilinearCNN(OnBackbone, SingleView):
    """Backbone, the outer product of its map with itself pooled over the positions, one linear layer.

    The symmetric variant ("D, D"). Its map is that of the last convolution: the pooling after it, which VGG and AlexNet
    have, is removed. Published training has two steps, the linear layer alone and then all layers
    (`recipe=bilinear_cnn_authors`). The input of the linear layer has L2 norm 1, spread over many small entries: the
    layer needs a learning rate about a hundred times that of the backbone; the authors use 1.0.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`. With D channels the linear layer
            has C * D * D weights: 0.8 million for three classes and VGG-16, 12.6 million for ResNet-50.
    """

    head_lr_factor = 100.0

    def __init__(
        self, classes: int, image_size: int, backbone: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__(image_size, backbone, pretrained, weights)
        _drop_last_pooling(getattr(self.backbone.model, "features", self.backbone.model))
        self.feature_dim = self.backbone.channels**2
        self.head = nn.Linear(self.feature_dim, classes)
        nn.init.kaiming_normal_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def features(self, images: Tensor) -> Tensor:
        """The pooled outer product [B, D * D] of the map with itself."""
        maps = self.backbone(images).last
        return bilinear_pool(maps, maps)


def _drop_last_pooling(layers: nn.Module) -> None:
    """Replace a max-pooling at the end of a sequence of layers by an identity."""
    while isinstance(layers, nn.Sequential) and len(layers):
        last = layers[-1]
        if isinstance(last, nn.MaxPool2d):
            layers[-1] = nn.Identity()
        layers = last
