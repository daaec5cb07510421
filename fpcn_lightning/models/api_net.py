"""API-Net, attentive pairwise interaction: Zhuang, Wang, Qiao, AAAI 2020, arXiv 2002.10191."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.contrast import PairContrast
from fpcn_lightning.models.network import average
from fpcn_lightning.models.on_backbone import OnBackbone, SingleView


class APINet(OnBackbone, SingleView):
    """Learns from pairs of pictures, each weighed by its own gate and by its partner's, and ranks the two.

    The network that is deployed is `Plain`: no partner, no gate. Fusion without activation and residual gates are
    those of the authors' code; FPCN took them over, and both share `fpcn_lightning.models.contrast.PairContrast`.
    Where the authors pair a picture that is alone in its class with picture 0, here it gets no pair.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
        pairs, pairs_per_image, fusion_hidden, dropout: see `fpcn_lightning.models.contrast.PairContrast`.

    Raises:
        UserError: a value that its part does not know.
    """

    def __init__(
        self,
        classes: int,
        image_size: int,
        backbone: str,
        pretrained: bool = True,
        weights: str | Path | None = None,
        *,
        pairs: Literal["nearest", "random", "all"] = "nearest",
        pairs_per_image: int = 2,
        fusion_hidden: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(image_size, backbone, pretrained, weights)
        self.head = nn.Linear(self.feature_dim, classes)
        self.contrast = PairContrast(
            self.feature_dim,
            hidden=fusion_hidden,
            activation="none",
            dropout=dropout,
            gate="residual",
            pairs=pairs,
            pairs_per_image=pairs_per_image,
        )

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture with its partners in the batch of all processes; by itself where nobody fits."""
        return self.contrast.paired(super().views(images, labels), self.head)

    def features(self, images: Tensor) -> Tensor:
        """The mean [B, D] over the map."""
        return average(self.backbone(images).last)
