"""Bilinear pooling: which channels are active at the same positions, as one vector per image."""

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5  # under the root, whose slope at 0 is infinite


def bilinear_pool(left: Tensor, right: Tensor) -> Tensor:
    """Mean outer product over the positions, signed square root, L2 norm 1. A product of 0 counts as positive.

    Source: Lin, RoyChowdhury, Maji, "Bilinear CNN Models", ICCV 2015; with two different maps as in PCA-Net
    (arXiv 2101.08527).

    Args:
        left: [B, D, H, W].
        right: [B, E, H, W].

    Returns:
        [B, D * E], row by row of the products, in float32 or wider also under mixed precision: sums of squares of
        activations exceed the range of half precision. Maps of zeros give a vector of equal entries.
    """
    wide = torch.promote_types(left.dtype, torch.float32)
    with torch.autocast(left.device.type, enabled=False):
        sums = left.to(wide).flatten(2) @ right.to(wide).flatten(2).transpose(1, 2)
        products = sums / (left.shape[2] * left.shape[3])
        rooted = torch.where(products < 0, -1.0, 1.0) * (products.abs() + EPSILON).sqrt()
        return functional.normalize(rooted.flatten(1), dim=1)
