"""Base classes for networks on a pretrained backbone, and for networks that classify single images."""

from abc import abstractmethod
from pathlib import Path

from torch import Tensor, nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.network import Network, NetworkOutput


class SingleView(Network):
    """A network that computes one vector for each image, and classifies it with one linear layer."""

    head: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The vectors [B, D] of images [B, 3, S, S]."""

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C]."""
        return NetworkOutput({"plain": self.head(self.features(images))})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every image once."""
        features = self.features(images)
        logits = self.head(features)
        return Views(logits, labels, own_logits=logits, features=features)


class OnBackbone(Network):
    """A network whose pretrained part is one backbone, which determines how images are normalised.

    Args:
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights, previous_block: see `fpcn_lightning.models.backbones.Backbone`.

    Raises:
        UserError: the backbone is unknown, or its weights cannot be loaded.
    """

    def __init__(
        self,
        image_size: int,
        backbone: str,
        pretrained: bool,
        weights: str | Path | None,
        *,
        previous_block: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = Backbone(
            backbone,
            image_size=image_size,
            pretrained=pretrained,
            weights_file=weights,
            previous_block=previous_block,
        )
        self.mean, self.std = self.backbone.mean, self.backbone.std
        self.weights_source = self.backbone.weights_source
        self.fixed_size = self.backbone.fixed_size
        self.feature_dim = self.backbone.channels

    @property
    def trunk(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    @property
    def heat_layer(self) -> nn.Module:
        """The module whose output is the last map of the backbone."""
        return self.backbone.last
