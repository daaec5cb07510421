"""The network as it is deployed: bytes of a picture in, calibrated probabilities out, nothing left to the caller."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import check_choice
from fpcn_lightning.models.network import Network

SCORES = ("energy", "probability")
OUTPUTS = ("probabilities", "score", "activation_map", "object_mask")
"""What a file of a bundle returns, in this order; the last two only where the network has them."""


class DeployedNetwork(nn.Module):
    """A network with its normalisation before it and its calibration after it (`fpcn_lightning.field.manifest`).

    Args:
        network: is set to evaluation mode.
        score: what distinguishes pictures of the trained kind from others: `energy`, the logarithm of the sum of the
            exponentials of the logits (Liu et al., NeurIPS 2020, at temperature 1), or `probability`, the calibrated
            one of the most likely class (Hendrycks, Gimpel, ICLR 2017).

    Attributes:
        temperature: by which logits are divided before the softmax; 1 until it is set.

    Raises:
        UserError: there is no such score.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, network: Network, score: str = "energy") -> None:
        super().__init__()
        check_choice("export.score", score, SCORES)
        self.network, self.score = network.eval(), score
        self.temperature = 1.0
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (network.mean, network.std))
        self.register_buffer("weight", (1 / (255 * std)).float().diag()[:, :, None, None], persistent=False)
        self.register_buffer("bias", (-mean / std).float(), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Pictures, uint8 [B, S, S, 3], to `OUTPUTS`: probabilities [B, C], score [B], and, where the network has them,
        activation map [B, C, h, w] and object mask [B, h, w].
        """
        normalised = self.normalised(images)
        explained = self.network.explained(normalised)
        if explained is None:
            return self.predictions(self.network(normalised))
        located = () if explained.mask is None else (explained.mask.float(),)
        return (*self.predictions(explained.logits), explained.maps, *located)

    def predictions(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities [B, C] and score [B] for logits [B, C]."""
        probabilities = (logits / self.temperature).softmax(1)
        return probabilities, logits.logsumexp(1) if self.score == "energy" else probabilities.amax(1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits [B, C] of pictures, uint8 [B, S, S, 3]."""
        logits: Tensor = self.network(self.normalised(images))
        return logits

    def normalised(self, images: Tensor) -> Tensor:
        """Pictures, uint8 [B, S, S, 3], as the input of the network, [B, 3, S, S]."""
        # As a convolution: onnxruntime takes ten times as long for a difference and a quotient of interleaved channels.
        return functional.conv2d(images.permute(0, 3, 1, 2).float(), self.weight, self.bias)
