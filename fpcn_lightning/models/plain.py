"""The baseline that the other networks are compared with: backbone, global average pooling, one linear layer."""

from pathlib import Path

from torch import Tensor, nn

from fpcn_lightning.models.network import Explained, average, explained_average
from fpcn_lightning.models.on_backbone import OnBackbone, SingleView


class Plain(OnBackbone, SingleView):
    """Backbone, global average pooling, one linear layer.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
    """

    def __init__(
        self, classes: int, image_size: int, backbone: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__(image_size, backbone, pretrained, weights)
        self.head = nn.Linear(self.backbone.channels, classes)

    @property
    def linear_head(self) -> nn.Linear:
        """The only layer after the backbone."""
        return self.head

    def features(self, images: Tensor) -> Tensor:
        """The mean [B, D] over the map."""
        return average(self.backbone(images).last)

    def explained(self, images: Tensor) -> Explained:
        """Logits [B, C] and class activation maps [B, C, H, W]."""
        return explained_average(self.head, self.backbone(images).last)
