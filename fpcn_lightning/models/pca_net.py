"""PCA-Net, the progressive co-attention network: Zhang et al. 2021, arXiv 2101.08527."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import check_choice
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.attention_maps import ATTENTION_MAPS, Attended, AttentionMaps
from fpcn_lightning.models.bilinear_pooling import bilinear_pool
from fpcn_lightning.models.channel_interaction import channel_weights
from fpcn_lightning.models.network import NetworkOutput
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.models.pairs import random_pairs

FEATURE_NORM = 100.0  # what the linear layer is given
ERASE_FROM, ERASE_TO = 0.2, 0.5  # shares of the map's maximum, from which on a picture is erased
LEAST_CHANCE = 1e-12  # so that attention maps of zeros can be drawn, too


class PCANet(OnBackbone):
    """Bilinear pooling of features and attention maps; learns from erased pictures and from pairs of one class.

    Each picture goes through the network twice, as it is and with the place erased that one of its attention maps
    shines on. A random other picture of its class in the batch of the process (each has a balanced one) is its partner:
    the attention maps of both are mixed by how little their channels overlap (`co_attention`), which gives two more
    views. The loss is the mean of the paper's six: anchor, erased anchor, positive, erased positive, and both of the
    co-attention. The four passes an anchor that the authors' code makes, two for the anchor and two for its positive,
    are two passes a drawn picture; here every drawn picture is an anchor, and the positive of others, so that its own
    two losses count twice in the mean, and those of a pair once. A picture without partner gives its own two only.

    Inference is the raw picture alone. The centre loss (`loss.center.update=moving_average`) sees the bilinear vectors
    of the raw pictures, of norm 1; the linear layer sees them at norm 100. Where features and attention never meet,
    their product counts as 1e-5, in the authors' code as 0. With few classes the linear layer needs the authors'
    learning rate, 1e-3: at the ten times larger one of the shared recipe its loss climbs instead of falling.

    Mended from the authors' code: the second co-attention branch took the features of the erased anchor for those of
    the positive (`co_attention_features=erased_anchor` gives theirs). As there, what is erased becomes 0 in the
    normalised picture, which is the mean colour.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`; how it gives attention maps, see
            `fpcn_lightning.models.attention_maps.AttentionMaps`.
        co_attention_features: of the second branch, `positive` or `erased_anchor`.

    Raises:
        UserError: `co_attention_features` has another value.
    """

    head_lr_factor = 0.1

    def __init__(
        self,
        classes: int,
        image_size: int,
        backbone: str,
        pretrained: bool = True,
        weights: str | Path | None = None,
        *,
        co_attention_features: Literal["positive", "erased_anchor"] = "positive",
    ) -> None:
        check_choice("model.co_attention_features", co_attention_features, ("positive", "erased_anchor"))
        super().__init__(image_size, backbone, pretrained, weights)
        self.attention = AttentionMaps(self.backbone)
        self.feature_dim = self.attention.channels * ATTENTION_MAPS
        self.head = nn.Linear(self.feature_dim, classes)
        self.co_attention_features = co_attention_features

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C]."""
        return NetworkOutput({"plain": self.head(FEATURE_NORM * bilinear_pool(*self.attended(images)))})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture as it is and erased, and two views of every pair."""
        raw = self.attended(images)
        erased = self.attended(erase(images, raw.attention))
        pairs = random_pairs(labels)
        anchors, partners = pairs.anchors[pairs.same_class], pairs.partners[pairs.same_class]
        a, b = raw.attention[anchors], raw.attention[partners]
        second = raw.features[partners] if self.co_attention_features == "positive" else erased.features[anchors]
        pooled = bilinear_pool(
            torch.cat([raw.features, erased.features, raw.features[anchors], second]),
            torch.cat([raw.attention, erased.attention, co_attention(a, b), co_attention(b, a)]),
        )
        logits = self.head(FEATURE_NORM * pooled)
        counts = torch.cat([pooled.new_full((2 * len(labels),), 2.0), pooled.new_ones(2 * len(anchors))])
        return Views(
            logits,
            torch.cat([labels, labels, labels[anchors], labels[partners]]),
            own_logits=logits[: len(labels)],
            features=pooled[: len(labels)],
            weights=counts / counts.sum(),
        )

    def attended(self, images: Tensor) -> Attended:
        """Features and attention maps of pictures [B, 3, S, S]."""
        attended: Attended = self.attention(self.backbone(images).last)
        return attended


@torch.no_grad()
def erase(images: Tensor, attention: Tensor) -> Tensor:
    """Pictures [B, 3, S, S] that are 0 where one of their attention maps [B, M, H, W] shines.

    The map is drawn with a chance that grows with the root of its mean, and counts as shining from a share of its
    maximum that is drawn from 0.2 to 0.5. A map of zeros shines everywhere.
    """
    chances = attention.float().mean((2, 3)).nan_to_num().sqrt() + LEAST_CHANCE
    drawn = torch.multinomial(chances, 1).squeeze(1)
    maps = attention[torch.arange(len(images), device=images.device), drawn].unsqueeze(1)
    maps = functional.interpolate(maps, size=images.shape[2:], mode="bilinear")
    share = torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(ERASE_FROM, ERASE_TO)
    return images * (maps < share * maps.amax((2, 3), keepdim=True))


def co_attention(attention: Tensor, other: Tensor) -> Tensor:
    """Attention maps [B, M, H, W], each with those added whose counterparts in the other picture are least like it."""
    weights = channel_weights(attention, other).to(attention.dtype)
    return (weights @ attention.flatten(2)).reshape(attention.shape) + attention
