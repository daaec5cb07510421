"""What networks share that stand on a pretrained backbone, and those that see each picture by itself."""

from abc import abstractmethod
from pathlib import Path

from torch import Tensor, nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.network import Network, NetworkOutput


class SingleView(Network):
    """A network that makes one vector of each picture, and classifies it with one linear layer."""

    head: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The vectors [B, D] of pictures [B, 3, S, S]."""

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C]."""
        return NetworkOutput({"plain": self.head(self.features(images))})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture once, by itself."""
        features = self.features(images)
        logits = self.head(features)
        return Views(logits, labels, own_logits=logits, features=features)


class OnBackbone(Network):
    """A network whose pretrained part is one backbone, which says how pictures are normalised.

    Args:
        image_size: side of the pictures, pixels.
        backbone, pretrained, weights, previous_block: see `fpcn_lightning.models.backbones.Backbone`.

    Raises:
        UserError: no such backbone, or weights that are not to be had.
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
        """What the last map of the backbone passes through."""
        return self.backbone.last
