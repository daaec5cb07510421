"""API-Net, attentive pairwise interaction: Zhuang, Wang, Qiao, AAAI 2020, arXiv 2002.10191."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.contrast import PairContrast
from fpcn_lightning.models.network import average
from fpcn_lightning.models.on_backbone import OnBackbone, SingleView


class APINet(OnBackbone, SingleView):
    """Trained on pairs of images: features are weighted by the own and by the partner's gate, and the scores ranked.

    At inference it is the same network as `Plain`: no partner, no gate. Fusion without activation and residual gates
    are those of the authors' code; FPCN's code reuses them, and both networks share
    `fpcn_lightning.models.contrast.PairContrast`. The authors' code pairs an image that is alone in its class with
    image 0; here it gets no pair.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
        pairs, pairs_per_image, fusion_hidden, dropout: see `fpcn_lightning.models.contrast.PairContrast`.

    Raises:
        UserError: an argument has an unknown value.
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
        """Every image with its partners in the batch of all processes; single images where there are no partners."""
        return self.contrast.paired(super().views(images, labels), self.head)

    def features(self, images: Tensor) -> Tensor:
        """The mean [B, D] over the map."""
        return average(self.backbone(images).last)
