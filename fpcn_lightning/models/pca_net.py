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

FEATURE_NORM = 100.0  # L2 norm of the input of the linear layer
ERASE_FROM, ERASE_TO = 0.2, 0.5  # range of the threshold of erasing, as shares of the map's maximum
LEAST_CHANCE = 1e-12  # so that attention maps of zeros can be drawn, too


class PCANet(OnBackbone):
    """Bilinear pooling of features and attention maps; learns from erased images and from pairs of one class.

    Each image passes through the network twice, unchanged and with the region erased where one of its attention maps is
    high. A random other image of its class in the batch of the process (each has a balanced one) is its partner: the
    attention maps of both are mixed by how little their channels overlap (`co_attention`), which gives two more views.
    The loss is the mean of the paper's six: anchor, erased anchor, positive, erased positive, and both of the
    co-attention. The authors' code makes four passes per anchor, two for the anchor and two for its positive, which are
    two passes per drawn image; here every drawn image is an anchor, and the positive of others, so that its own two
    losses count twice in the mean, and those of a pair once. An image without a partner has its own two losses only.

    Inference uses the unchanged image only. The centre loss (`loss.center.update=moving_average`) is computed on the
    bilinear vectors of the unchanged images, of norm 1; the linear layer takes them at norm 100. Where a product of
    features and attention is 0, it counts as 1e-5, in the authors' code as 0. With few classes the linear layer needs
    the authors' learning rate, 1e-3: at ten times that, the rate of the shared recipe, its loss rises.

    Corrected error of the authors' code: the second co-attention branch took the features of the erased anchor for
    those of the positive (`co_attention_features=erased_anchor` restores it). As there, erased pixels are 0 in the
    normalised image, which is the mean colour.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`; for the attention maps, see
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
        """Every image unchanged and erased, and two views of every pair."""
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
        """Features and attention maps of images [B, 3, S, S]."""
        attended: Attended = self.attention(self.backbone(images).last)
        return attended


@torch.no_grad()
def erase(images: Tensor, attention: Tensor) -> Tensor:
    """Images [B, 3, S, S], set to 0 where one of their attention maps [B, M, H, W] is high.

    The map is drawn with a probability proportional to the root of its mean, and counts as high from a share of its
    maximum on that is drawn from 0.2..0.5. A map of zeros counts as high everywhere.
    """
    chances = attention.float().mean((2, 3)).nan_to_num().sqrt() + LEAST_CHANCE
    drawn = torch.multinomial(chances, 1).squeeze(1)
    maps = attention[torch.arange(len(images), device=images.device), drawn].unsqueeze(1)
    maps = functional.interpolate(maps, size=images.shape[2:], mode="bilinear")
    share = torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(ERASE_FROM, ERASE_TO)
    return images * (maps < share * maps.amax((2, 3), keepdim=True))


def co_attention(attention: Tensor, other: Tensor) -> Tensor:
    """Attention maps [B, M, H, W] plus a weighted sum of all maps, with more weight to dissimilar ones of `other`."""
    weights = channel_weights(attention, other).to(attention.dtype)
    return (weights @ attention.flatten(2)).reshape(attention.shape) + attention
