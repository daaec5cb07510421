"""What a network returns for the terms of the loss in a training step."""

from typing import NamedTuple

from torch import Tensor


class ContrastedPairs(NamedTuple):
    """Embeddings of both images of P pairs, each [P, E], and whether they are of one class, bool [P]."""

    anchors: Tensor
    partners: Tensor
    same_class: Tensor


class Views(NamedTuple):
    """Input of the loss in a training step. B images, V classified views, R ranked pairs, C classes, D channels."""

    logits: Tensor  # [V, C] every classified view
    targets: Tensor  # [V] its class; [V, C] the shares of the classes of mixed images
    own_logits: Tensor  # [B, C] one prediction per image, in the configured inference mode
    features: Tensor  # [B, D] pooled features, for the centre loss and the supervised contrastive loss
    whole_features: Tensor | None = None  # [B, D] the mean of the whole map, where `features` are of a located object
    better: Tensor | None = None  # [R] scores that should be higher ...
    worse: Tensor | None = None  # [R] ... than these, 0..1
    mask: Tensor | None = None  # [B, H, W] 1 on the object, theta elsewhere
    object_ratio: Tensor | None = None  # [B] alpha of FPCN's equation 4, 0..1
    weights: Tensor | None = None  # [V] weight of each view in the classification loss; None: 1 / V each
    contrasted: ContrastedPairs | None = None  # embeddings of pairs, for the contrastive loss
    mask_view: Tensor | None = None  # [B, C] one prediction per closer view; [0, C] in epochs without such views
