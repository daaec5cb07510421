"""The mean of a weighted feature map over the positions, and the divisors that decide what FPCN's alpha does.

Section 3.1 of FPCN (Electronics 2023, 12(23), 4805) weights the map by alpha, the share of the object in the image
(equation 5), and section 3.2 pools it (equation 7). Alpha is one factor for a whole image, so that its effect depends
on the divisor. With F the features, M the mask and alpha = sum(M) / HW (equation 4):

- over the `map`: alpha * sum(F M) / HW, which is alpha squared times the mean of F inside the object (with theta 0):
  once as the factor of equation 5, once because the divisor counts the background, too. The authors' code does this.
- over the `mask`: alpha * sum(F M) / sum(M) = sum(F M) / HW. **Alpha cancels**: `alpha=area, pool_over=mask` computes
  what `alpha=off, pool_over=map` computes, for every theta. Comparing it with `alpha=off, pool_over=mask` compares two
  divisors, not equation 5 with its absence.
- over the `weights`, the weighted mean sum(F w) / sum(w): every factor of a whole image cancels, so that `area` or a
  number would do nothing, and is refused. What remains of `alpha=soft` is the relative weight of the surroundings,
  1 - alpha against 1, without any change of scale from image to image.
- over `nothing`: the sum, as equation 7 is printed; the paper calls it global average pooling. It is HW times the mean,
  which matters for a product of two such vectors.
"""

from typing import Literal

from torch import Tensor

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.models.positioning import Alpha, Located

PoolOver = Literal["map", "mask", "weights", "nothing"]


def divisor_of(pool_over: PoolOver, *, mask: bool, alpha: Alpha) -> PoolOver:
    """The divisor that a network uses for its keys `pool_over`, `mask` and `alpha`.

    Without a mask, the sums of mask and weights are the area of the map, but only the mean over the map equals that of
    `Plain` bit for bit: a GPU computes a mean as the sum times 1 / (H * W).

    Raises:
        UserError: `pool_over` is unknown, or would cancel alpha.
    """
    check_choice("model.pool_over", pool_over, ("map", "mask", "weights", "nothing"))
    if pool_over == "weights" and alpha not in ("off", "soft"):
        raise UserError(
            f"model.alpha={alpha} has no effect with model.pool_over=weights, which divides by it: set "
            "model.pool_over=map, or model.alpha=soft or off."
        )
    return "map" if pool_over in ("mask", "weights") and not mask else pool_over


def pool(features: Tensor, located: Located, over: PoolOver) -> Tensor:
    """Average the weighted feature map over the positions.

    Args:
        features: [B, C, H, W].
        located: output of `Positioning` for these images.
        over: "map" divides the sum of the weighted features by H * W, "mask" by the sum of the mask, "weights" by the
            sum of the weights, "nothing" by 1.

    Returns:
        [B, C], in float32, or in float64 where `features` are. Only the features receive a gradient.
    """
    weighted = features * located.weights
    if over == "map":  # the same as the sum / area except for the last bit, which must be that of `Plain`
        return weighted.mean(dim=(2, 3))
    return (weighted.sum(dim=(2, 3), keepdim=True) / area(located, over)).flatten(1)


def area(located: Located, over: PoolOver) -> Tensor | int:
    """The divisor of the sum of the weighted features in `pool`: one number, or one per image [B, 1, 1, 1]."""
    if over == "mask":
        return located.mask.sum(dim=(1, 2)).view(-1, 1, 1, 1)
    if over == "weights":
        return located.weights.sum(dim=(1, 2, 3)).view(-1, 1, 1, 1)
    return located.mask.shape[1:].numel() if over == "map" else 1
