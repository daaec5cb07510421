"""CIN, channel interaction networks: Gao et al., AAAI 2020, arXiv 2003.05235."""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.channel_interaction import channel_weights, mix_channels
from fpcn_lightning.models.network import Answers, Contrasted, Network, Views, average
from fpcn_lightning.models.pairs import Pairs, select_pairs


class _Interaction(NamedTuple):
    """X [B, D, H, W] of pictures, W = softmax(-X X^T) [B, D, D], and Y = W X [B, D, H, W], in the paper's letters."""

    maps: Tensor
    weights: Tensor
    mixed: Tensor


class CIN(Network):
    """Adds to each channel what complements it (self-channel interaction); embeds pairs by how their channels differ.

    With X the last map: W = softmax(-X X^T), Y = W X, Z = phi(Y) + X, phi a 3 x 3 convolution; Z is pooled and
    classified, in training as in inference. For a pair (A, B) of the batch, contrastive channel interaction takes
    W_AB = |W_A - eta W_B| with eta = psi([Y_A, Y_B]) in the place of W, which gives Z'_A; h embeds it for the
    contrastive loss (`loss.contrastive`).

    The authors published no code. Ours, where the paper leaves it open:

    - `attention_scale`: X X^T reaches the hundreds, where its softmax is all but one-hot; its mean over the positions
      does not;
    - psi and h act after global average pooling, so that pictures of any size fit, and h has 1 million weights instead
      of 205;
    - pairs are drawn as `pairs` says, among the pictures of the process, whose maps would be too much to send.

    A pair holds about four matrices of D x D numbers for the backward pass, 16 MB each for the 2048 channels of a
    ResNet-101: `pairs_per_image` decides about the memory.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
        attention_scale: products of channels are their `mean` over the positions, or their sum (`none`).
        embedding_dim: of h.
        pairs, pairs_per_image: see `fpcn_lightning.models.pairs.select_pairs`.

    Raises:
        UserError: a value that is unknown, or an embedding without dimensions.
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
    ) -> None:
        super().__init__()
        check_choice("model.attention_scale", attention_scale, ("mean", "none"))
        check_choice("model.pairs", pairs, ("nearest", "random", "all"))
        if embedding_dim < 1:
            raise UserError(f"model.embedding_dim is {embedding_dim}: it must be at least 1.")
        self.backbone = Backbone(backbone, image_size=image_size, pretrained=pretrained, weights_file=weights)
        channels = self.feature_dim = self.backbone.channels
        self.head = nn.Linear(channels, classes)
        self.phi = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.psi = nn.Linear(2 * channels, 1)
        self.embed = nn.Linear(channels, embedding_dim)
        self.attention_scale, self.pairs, self.pairs_per_image = attention_scale, pairs, pairs_per_image
        self.mean, self.std = self.backbone.mean, self.backbone.std
        self.weights_source = self.backbone.weights_source
        self.fixed_size = self.backbone.fixed_size

    @property
    def trunk(self) -> nn.Module:
        """The backbone."""
        return self.backbone

    def answers(self, images: Tensor) -> Answers:
        """Logits [B, C]."""
        return Answers({"plain": self.head(self._pooled(self._interaction(images)))})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture once, by itself; beside them the embeddings of pairs."""
        seen = self._interaction(images)
        features = self._pooled(seen)
        logits = self.head(features)
        pairs = select_pairs(self.pairs, average(seen.maps), labels, self.pairs_per_image)
        return Views(logits, labels, own_logits=logits, features=features, contrasted=self._contrasted(seen, pairs))

    def _interaction(self, images: Tensor) -> _Interaction:
        maps = self.backbone(images).last
        scale = 1 / (maps.shape[2] * maps.shape[3]) if self.attention_scale == "mean" else 1.0
        weights = channel_weights(maps, maps, scale)
        return _Interaction(maps, weights, mix_channels(weights, maps))

    def _pooled(self, seen: _Interaction) -> Tensor:
        """Z, pooled: [B, D]."""
        return average(self.phi(seen.mixed) + seen.maps)

    def _contrasted(self, seen: _Interaction, pairs: Pairs) -> Contrasted:
        anchors = self._embedded(seen, pairs.anchors, pairs.partners)
        return Contrasted(anchors, self._embedded(seen, pairs.partners, pairs.anchors), pairs.same_class)

    def _embedded(self, seen: _Interaction, pictures: Tensor, partners: Tensor) -> Tensor:
        """h of Z' [P, E], of norm 1, of pictures at positions [P] in contrast to partners at positions [P]."""
        pooled = average(seen.mixed)
        eta = self.psi(torch.cat([pooled[pictures], pooled[partners]], dim=1)).unsqueeze(2)
        weights = (seen.weights[pictures] - eta * seen.weights[partners]).abs()
        maps = seen.maps[pictures]
        return functional.normalize(self.embed(average(self.phi(mix_channels(weights, maps)) + maps)), dim=1)
