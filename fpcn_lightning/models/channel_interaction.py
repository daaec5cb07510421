"""Channel interaction: PCA-Net and CIN attend most to the channels that are active at other positions."""

import torch
from torch import Tensor


def channel_weights(maps: Tensor, others: Tensor, scale: float = 1.0) -> Tensor:
    """Weights softmax(-scale * maps others^T) of the other channels for each channel; similar ones get the least.

    Source: CIN (Gao et al., AAAI 2020, arXiv 2003.05235); between two images as in PCA-Net (arXiv 2101.08527).

    Args:
        maps: [B, C, H, W].
        others: [B, D, H, W].
        scale: factor of the products, each a sum over the positions.

    Returns:
        [B, C, D], rows of sum 1, in float32 or wider also under mixed precision: the products may reach the hundreds.
    """
    wide = torch.promote_types(maps.dtype, torch.float32)
    with torch.autocast(maps.device.type, enabled=False):
        products = maps.to(wide).flatten(2) @ others.to(wide).flatten(2).transpose(1, 2)
        return (-scale * products).softmax(dim=2)
