"""Contrastive loss: embeddings of one class lie close together, those of two classes at least a margin apart."""

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(anchors: Tensor, partners: Tensor, same_class: Tensor, margin: float = 0.5) -> Tensor:
    """Mean over pairs of d^2 within a class, and of max(0, margin - d)^2 across classes; d is the Euclidean distance.

    Source: CIN (Gao et al., AAAI 2020, arXiv 2003.05235), after Hadsell, Chopra, LeCun (CVPR 2006). Computed in float32
    or wider.

    Args:
        anchors: [P, E].
        partners: [P, E].
        same_class: bool [P].
        margin: of distance.

    Returns:
        Scalar >= 0; 0 where there are no pairs, still connected to the graph.
    """
    wide = torch.promote_types(anchors.dtype, torch.float32)
    squared = (anchors.to(wide) - partners.to(wide)).square().sum(1)
    # The square root has no slope at 0, where two pictures of different classes are told apart by nothing.
    distance = squared.clamp(min=1e-12).sqrt()
    terms = torch.where(same_class, squared, functional.relu(margin - distance).square())
    return terms.sum() / max(len(terms), 1)
