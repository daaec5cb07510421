"""CIN, channel interaction networks: Gao et al., AAAI 2020, arXiv 2003.05235."""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.views import ContrastedPairs, Views
from fpcn_lightning.models.channel_interaction import channel_weights
from fpcn_lightning.models.network import NetworkOutput
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.models.pairs import select_pairs

NEIGHBOURS = 9  # positions in the window of a 3 x 3 convolution
CENTRE = 4  # index of the window's centre


class _Interaction(NamedTuple):
    """Inputs of channel interaction: W = softmax(-X X^T) [B, D, D], and `neighbour_means` of X [B, D, 9]."""

    weights: Tensor
    means: Tensor


class CIN(OnBackbone):
    """Adds complementary channels to each channel (self-channel interaction); embeds pairs by how channels differ.

    With X the last map: W = softmax(-X X^T), Y = W X, Z = phi(Y) + X, phi a 3 x 3 convolution; the mean of Z is
    classified, in training as in inference. For a pair (A, B) of the batch, contrastive channel interaction takes
    W_AB = |W_A - eta W_B| with eta = psi([Y_A, Y_B]) in place of W, which gives Z'_A; h embeds it for the
    contrastive loss (`loss.contrastive`).

    Of Z and Z' only the mean is used, and the mean of a convolution is linear in the means of X at its nine offsets.
    So phi is computed as a linear layer on these means, with the same weights and the same result, at a small fraction
    of the cost.

    The authors published no code. Our choices where the paper gives no details:

    - `attention_scale`: entries of X X^T reach the hundreds, where the softmax is almost one-hot; averaged over the
      positions they do not;
    - psi and h act after global average pooling, so that images of any size can be used, and h has 1 million weights
      instead of 205;
    - embeddings have norm 1, for which a margin of 0.5 is meaningful: with free norms the loss starts at a hundred
      times the margin, and SGD at 0.01 diverges within a few steps;
    - pairs are chosen by `pairs` among the images of one process, because W is too large to gather from all processes;
      at most `max_pairs` of them are drawn, because a pair keeps about six D x D matrices for the backward pass, 16 MB
      each with the 2048 channels of a ResNet-101.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
        attention_scale: products of channels are their `mean` over the positions, or their sum (`none`).
        embedding_dim: output size of h.
        pairs, pairs_per_image: see `fpcn_lightning.models.pairs.select_pairs`.
        max_pairs: largest number of pairs in the batch of one process.

    Raises:
        UserError: an argument has an unknown value, or `max_pairs` or `embedding_dim` is below 1.
    """

    def __init__(
        self,
        classes: int,
        image_size: int,
        backbone: str,
        pretrained: bool = True,
        weights: str | Path | None = None,
        *,
        attention_scale: Literal["mean", "none"] = "mean",
        embedding_dim: int = 512,
        pairs: Literal["nearest", "random", "all"] = "random",
        pairs_per_image: int = 2,
        max_pairs: int = 20,
    ) -> None:
        check_choice("model.attention_scale", attention_scale, ("mean", "none"))
        check_choice("model.pairs", pairs, ("nearest", "random", "all"))
        if not isinstance(max_pairs, int) or max_pairs < 1:
            raise UserError(f"model.max_pairs={max_pairs} must be a whole number of at least 1.")
        if embedding_dim < 1:
            raise UserError(f"model.embedding_dim is {embedding_dim}: it must be at least 1.")
        super().__init__(image_size, backbone, pretrained, weights)
        channels = self.backbone.channels
        self.head = nn.Linear(channels, classes)
        self.phi = nn.Linear(NEIGHBOURS * channels, channels)
        self.psi = nn.Linear(2 * channels, 1)
        self.embed = nn.Linear(channels, embedding_dim)
        self.attention_scale = attention_scale
        self.pairs, self.pairs_per_image, self.max_pairs = pairs, pairs_per_image, max_pairs

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C]."""
        seen = self._interaction(images)
        return NetworkOutput({"plain": self.head(self._pooled(seen.weights, seen.means))})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every image once, and the embeddings of pairs."""
        seen = self._interaction(images)
        features = self._pooled(seen.weights, seen.means)
        logits = self.head(features)
        return Views(logits, labels, own_logits=logits, features=features, contrasted=self._contrasted(seen, labels))

    def _interaction(self, images: Tensor) -> _Interaction:
        maps = self.backbone(images).last
        scale = 1 / (maps.shape[2] * maps.shape[3]) if self.attention_scale == "mean" else 1.0
        return _Interaction(channel_weights(maps, maps, scale), neighbour_means(maps))

    def _pooled(self, weights: Tensor, means: Tensor) -> Tensor:
        """The mean of phi(W X) + X [B, D], of weights [B, D, D] and the means of X [B, D, 9]."""
        mixed: Tensor = self.phi((weights @ means).flatten(1))
        return mixed + means[:, :, CENTRE]

    def _contrasted(self, seen: _Interaction, labels: Tensor) -> ContrastedPairs:
        pairs = select_pairs(self.pairs, seen.means[:, :, CENTRE], labels, self.pairs_per_image)
        drawn = torch.randperm(len(pairs.anchors), device=labels.device)[: self.max_pairs]
        a, b = pairs.anchors[drawn], pairs.partners[drawn]
        return ContrastedPairs(self._embedded(seen, a, b), self._embedded(seen, b, a), pairs.same_class[drawn])

    def _embedded(self, seen: _Interaction, anchors: Tensor, partners: Tensor) -> Tensor:
        """h of Z' [P, E], of norm 1, of images at positions [P] in contrast to partners at positions [P]."""
        mixed = (seen.weights @ seen.means)[:, :, CENTRE]
        eta = self.psi(torch.cat([mixed[anchors], mixed[partners]], dim=1)).unsqueeze(2)
        weights = (seen.weights[anchors] - eta * seen.weights[partners]).abs()
        return functional.normalize(self.embed(self._pooled(weights, seen.means[anchors])), dim=1)


def neighbour_means(maps: Tensor) -> Tensor:
    """Means [B, D, 9] of maps [B, D, H, W], shifted by each of the nine offsets of a zero-padded 3 x 3 convolution.

    They are ordered as the convolution's weights, row by row. In float32 or wider also under mixed precision.
    """
    padded = functional.pad(maps, (1, 1, 1, 1))
    shifted = padded.unfold(2, maps.shape[2], 1).unfold(3, maps.shape[3], 1)
    return shifted.mean((4, 5), dtype=torch.promote_types(maps.dtype, torch.float32)).flatten(2)
