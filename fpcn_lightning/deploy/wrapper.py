"""The network as it is deployed: bytes of a picture in, calibrated probabilities out, nothing left to the caller."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.deploy.map_distance import MapDistance, Maps
from fpcn_lightning.models.network import Network

SCORE = "feature distance"  # what `score` is, in the words of the manifest
OUTPUTS = ("probabilities", "score", "activation_map", "object_mask")
"""What a file of a bundle returns, in this order; the last two only where the network has them."""


class DeployedNetwork(nn.Module):
    """A network with its normalisation before it and its calibration after it (`fpcn_lightning.field.manifest`).

    Args:
        network: is set to evaluation mode.
        side: height and width of the pictures, pixels.

    Attributes:
        temperature: by which logits are divided before the softmax; 1 until it is set.
        distance: from the pictures of the training; its negative is the score. It has to be fitted.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, network: Network, side: int) -> None:
        super().__init__()
        self.network = network.eval()
        self.distance = MapDistance(self.network, side)
        self.temperature = 1.0
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (network.mean, network.std))
        self.register_buffer("weight", (1 / (255 * std)).float().diag()[:, :, None, None], persistent=False)
        self.register_buffer("bias", (-mean / std).float(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Pictures, uint8 [B, S, S, 3], to `OUTPUTS`: probabilities [B, C], score [B], and, where the network has them,
        activation map [B, C, h, w] and object mask [B, h, w].
        """
        normalised = self.normalised(images)
        with self.distance.watching(self.network) as maps:
            explained = self.network.explained(normalised)
            logits = self.network(normalised) if explained is None else explained.logits
        predicted = self.probabilities(logits), -self.distance(maps, normalised)
        if explained is None:
            return predicted
        located = () if explained.mask is None else (explained.mask.float(),)
        return (*predicted, explained.maps, *located)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities [B, C] for logits [B, C]."""
        return (logits / self.temperature).softmax(1)

    def logits_and_score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, C] and score [B] of pictures, uint8 [B, S, S, 3]."""
        logits, maps, normalised = self._passed(images)
        return logits, -self.distance(maps, normalised)

    def statistics(self, images: Tensor) -> Tensor:
        """What the distance is fitted to, [B, D], of pictures, uint8 [B, S, S, 3]."""
        _, maps, normalised = self._passed(images)
        return self.distance.statistics(maps, normalised)

    def _passed(self, images: Tensor) -> tuple[Tensor, Maps, Tensor]:
        """Logits, the maps of the distance, and the input of the network."""
        normalised = self.normalised(images)
        with self.distance.watching(self.network) as maps:
            logits = self.network(normalised)
        return logits, maps, normalised

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, C] of pictures, uint8 [B, S, S, 3]."""
        logits: Tensor = self.network(self.normalised(images))
        return logits

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures, uint8 [B, S, S, 3], as the input of the network, [B, 3, S, S]."""
        # As a convolution: onnxruntime takes ten times as long for a difference and a quotient of interleaved channels.
        return functional.conv2d(images.permute(0, 3, 1, 2).float(), self.weight, self.bias)
