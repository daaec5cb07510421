"""Feature positioning: locates the object in an image from the feature map itself (FPCN, section 3.1)."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.connected_components import largest_component

Alpha = Literal["off", "area", "soft"] | float


class Located(NamedTuple):
    """Where the object was located in each image; nothing here carries a gradient.

    Attributes:
        weights: [B, 1, H, W], >= 0, the factors of the feature map.
        mask: [B, H, W], the mask that `weights` carries: 1 inside, theta outside (between them where it is soft); all
            ones where the mask is off.
        object_ratio: [B] in (0, 1], alpha of equation 4: the mean of the located mask, also where the mask is off.
        inside: bool [B, H, W], True on the object, for any theta and also where the mask is off.
    """

    weights: Tensor
    mask: Tensor
    object_ratio: Tensor
    inside: Tensor


class Positioning(nn.Module):
    """Locate the object by thresholding the sum of the channels at its own mean.

    The sum is that of the magnitudes: the same for maps after a ReLU, as in the paper, and still informative for those
    of transformers, whose channels are normalised to a sum of about zero.

    Source: "Research on a High-Performance Rock Image Classification Method", Electronics 2023, 12(23), 4805,
    equations 1 to 5. With F the feature map, M the mask and alpha its mean, the weighted map is

    - `alpha="area"`: alpha * F * M (equation 5);
    - `alpha="off"`: F * M;
    - `alpha=NUMBER`: NUMBER * F * M;
    - `alpha="soft"`: F * (M + (1 - alpha) (1 - M)). The paper's prose says that a small object keeps more of its
      surroundings, which equation 5 (one scalar for the whole map) does not do; this interpretation is ours.

    `mask=False` replaces M by ones in these formulas while alpha is still computed from the located mask; with
    `alpha="off"` too, the weights are exactly ones.

    Over which area the weighted map is averaged decides what alpha does: see `fpcn_lightning.models.masked_pooling`.

    **Two readings of the mask.** Equation 3 is a threshold and nothing more, with >=: the defaults here. The prose of
    section 3.1 speaks of "maximum region detection" and of connected regions; the authors' code, and the title of an
    algorithm in their paper of 2024 (Sensors 24(13), 4127), have the largest connected region. Both are defensible.
    `strict`, `largest_component` and `previous_block` together are what the code does.

    **Constant maps.** A map that is constant or not finite counts as all object, and so does an empty intersection of
    the two blocks. The authors' code stops with an error on a last map that is constant or NaN. On a constant previous
    map it finds nothing, so that the intersection is empty and the mask full; here a constant map in one block leaves
    what the other has: a component of 12 of 196 cells, say, where the code has 196.

    **Soft masks** (ours): `soft` replaces the threshold by sigmoid((A - mean) / standard deviation), with A the sum of
    the channels: 1/2 where the threshold is, and no lower than theta.

    Args:
        mask: whether the weights carry the mask.
        soft: a mask that rises gradually, instead of one of theta and 1; not with `largest_component` or
            `previous_block`.
        theta: value outside the object, 0 <= theta < 1 (equation 3; the paper gives no number).
        alpha: "off", "area", "soft" or a number above 0.
        strict: above the mean (authors' code) instead of at or above it (paper).
        largest_component: keep the largest 8-connected region only.
        previous_block: keep only positions that are above the mean in the block before, too.

    Raises:
        UserError: theta or alpha has another value, or a soft mask is combined with `largest_component` or
            `previous_block`.
    """

    def __init__(
        self,
        *,
        mask: bool = True,
        soft: bool = False,
        theta: float = 0.0,
        alpha: Alpha = "area",
        strict: bool = False,
        largest_component: bool = False,
        previous_block: bool = False,
    ) -> None:
        super().__init__()
        _check(theta, alpha)
        if soft and (largest_component or previous_block):
            raise UserError(
                "model.mask_kind=soft works with model.largest_component=false and model.previous_block=false only."
            )
        self.mask = mask
        self.soft = soft
        self.theta = theta
        self.alpha = alpha
        self.strict = strict
        self.largest_component = largest_component
        self.previous_block = previous_block

    def forward(self, last: Tensor, previous: Tensor | None = None) -> Located:
        """Locate the object in the feature maps of a batch.

        Args:
            last: [B, C, H, W], output of the last block.
            previous: [B, C2, H, W], output of the block before; used with `previous_block` only.

        Returns:
            Located, in float32, or in float64 where `last` is.

        Raises:
            ValueError: `previous_block` is on and `previous` is missing or of another size than `last`.
        """
        inside = self._locate(last, previous)
        values = _rising(activation_map(last), inside) if self.soft else inside
        located = values.to(torch.promote_types(last.dtype, torch.float32)).clamp(min=self.theta)
        object_ratio = located.mean(dim=(1, 2))
        mask = located if self.mask else torch.ones_like(located)
        return Located(self._weigh(mask, object_ratio).unsqueeze(1), mask, object_ratio, inside)

    def _locate(self, last: Tensor, previous: Tensor | None) -> Tensor:
        inside = self._above_mean(last)
        if self.largest_component:
            inside = largest_component(inside)
        if self.previous_block:
            if previous is None or previous.shape[2:] != last.shape[2:]:
                raise ValueError("previous_block needs the map of the block before, as high and wide as the last")
            inside = inside & self._above_mean(previous)
        return _all_if_none(inside)

    def _above_mean(self, features: Tensor) -> Tensor:
        """Where the activation map (equation 1) reaches its mean [B, H, W]; everywhere if nowhere or not finite."""
        activation = activation_map(features)
        mean = activation.mean(dim=(1, 2), keepdim=True)
        above = activation > mean if self.strict else activation >= mean
        # A comparison with NaN is False everywhere, but one with an infinite mean can leave single pixels.
        return _all_if_none(above & mean.isfinite())

    def _weigh(self, mask: Tensor, object_ratio: Tensor) -> Tensor:
        if self.alpha == "off":
            return mask
        ratio = object_ratio[:, None, None]
        if self.alpha == "area":
            return ratio * mask
        if self.alpha == "soft":
            return mask + (1 - ratio) * (1 - mask)
        return self.alpha * mask


def activation_map(features: Tensor) -> Tensor:
    """Sum of the magnitudes of the channels (equation 1) of maps [B, C, H, W], as [B, H, W] without gradient.

    In float32 or wider: the sum of 2048 channels in bfloat16 would be too coarse to compare with its mean.
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    activation: Tensor = torch.linalg.vector_norm(features.detach(), ord=1, dim=1, dtype=wide)
    return activation


def _rising(activation: Tensor, inside: Tensor) -> Tensor:
    """Sigmoid of the standardised activation [B, H, W]; ones for maps that are all object."""
    deviation, mean = torch.std_mean(activation, dim=(1, 2), correction=0, keepdim=True)
    return ((activation - mean) / deviation).sigmoid().masked_fill(inside.all(2, keepdim=True).all(1, keepdim=True), 1)


def _all_if_none(inside: Tensor) -> Tensor:
    return inside | ~inside.any(dim=2, keepdim=True).any(dim=1, keepdim=True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(theta: float, alpha: Alpha) -> None:
    if not _is_number(theta) or not 0 <= theta < 1:
        raise UserError(f"model.theta is {theta}: the value outside the object must be at least 0 and below 1.")
    number = _is_number(alpha) and 0 < float(alpha) < math.inf
    if not (number or alpha in ("off", "area", "soft")):
        raise UserError(
            f"model.alpha is {alpha!r}: it must be 'off', 'area', 'soft' or a number above 0 (in yaml, quote 'off')."
        )
