"""Contrastive loss: pulls embeddings of one class together, pushes those of two classes at least a margin apart."""

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class ContrastiveTerm(LossTerm):
    """`contrastive_loss` of `Views.contrasted`.

    Args:
        weight: of the term.
        margin: Euclidean distance.
    """

    def __init__(self, weight: float, margin: float = 0.5) -> None:
        super().__init__(weight)
        self.margin = margin

    def forward(self, views: Views, labels: Tensor) -> Tensor:  # noqa: ARG002 - `same_class` replaces the labels
        """Scalar >= 0.

        Raises:
            UserError: the network has no embeddings of pairs.
        """
        if views.contrasted is None:
            raise UserError("this network has no embeddings of pairs: set loss.contrastive.weight=0.")
        return contrastive_loss(*views.contrasted, self.margin)


def contrastive_loss(anchors: Tensor, partners: Tensor, same_class: Tensor, margin: float = 0.5) -> Tensor:
    """Mean over pairs of d^2 within a class, and of max(0, margin - d)^2 across classes; d is the Euclidean distance.

    Source: CIN (Gao et al., AAAI 2020, arXiv 2003.05235), after Hadsell, Chopra, LeCun (CVPR 2006). Computed in float32
    or wider.

    Args:
        anchors: [P, E].
        partners: [P, E].
        same_class: bool [P].
        margin: Euclidean distance.

    Returns:
        Scalar >= 0; 0 where there are no pairs, still connected to the graph.
    """
    wide = torch.promote_types(anchors.dtype, torch.float32)
    squared = (anchors.to(wide) - partners.to(wide)).square().sum(1)
    # The gradient of the square root is infinite at 0, where two images of different classes have the same embedding.
    distance = squared.clamp(min=1e-12).sqrt()
    terms = torch.where(same_class, squared, functional.relu(margin - distance).square())
    return terms.sum() / max(len(terms), 1)
