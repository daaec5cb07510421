"""Normalisation of images with the mean and the standard deviation of a network."""

from torch import Tensor, nn, tensor

from fpcn_lightning.models.network import Network


class Normalisation(nn.Module):
    """Scales images to the mean and the standard deviation that a network was pretrained with.

    It has no parameters, and its buffers are not saved in checkpoints.

    Args:
        network: its `mean` and `std` are used.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.register_buffer("mean", tensor(network.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", tensor(network.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S], values 0..255, as float32 with the network's mean and standard deviation."""
        normalised: Tensor = (images.float() / 255 - self.mean) / self.std
        return normalised


def normalised(network: Network, images: Tensor) -> Tensor:
    """Images [B, 3, S, S], values 0..255, as a network on their device expects them; for a single call."""
    result: Tensor = Normalisation(network).to(images.device)(images)
    return result
