"""How channels complement each other: PCA-Net and CIN attend most to the channels that are active elsewhere."""

import torch
from torch import Tensor


def channel_weights(maps: Tensor, others: Tensor, scale: float = 1.0) -> Tensor:
    """How much each channel attends to each of the others, softmax(-scale * maps others^T): least to what is like it.

    Source: CIN (Gao et al., AAAI 2020, arXiv 2003.05235); between two pictures as in PCA-Net (arXiv 2101.08527).

    Args:
        maps: [B, C, H, W].
        others: [B, D, H, W].
        scale: of the products, each a sum over the positions.

    Returns:
        [B, C, D], rows of sum 1, in float32 or wider also under mixed precision: the products may reach the hundreds.
    """
    wide = torch.promote_types(maps.dtype, torch.float32)
    with torch.autocast(maps.device.type, enabled=False):
        products = maps.to(wide).flatten(2) @ others.to(wide).flatten(2).transpose(1, 2)
        return (-scale * products).softmax(dim=2)
