"""Ranking loss: an image is recognised with more confidence by its own gate than by its partner's."""

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class RankingTerm(LossTerm):
    """`score_ranking` of `Views.better` and `Views.worse`.

    Args:
        weight: of the term.
        margin: difference of probabilities.
    """

    def __init__(self, weight: float, margin: float = 0.05) -> None:
        super().__init__(weight)
        self.margin = margin

    def forward(self, views: Views, labels: Tensor) -> Tensor:  # noqa: ARG002 - the scores are of the true classes
        """Scalar >= 0.

        Raises:
            UserError: the network has no scores to rank.
        """
        if views.better is None or views.worse is None:
            raise UserError(
                "this network has no scores to rank: set loss.ranking.weight=0, or model.gate=residual for FPCN."
            )
        return score_ranking(views.better, views.worse, self.margin)


def score_ranking(better: Tensor, worse: Tensor, margin: float = 0.05) -> Tensor:
    """Mean of max(0, worse - better + margin) (API-Net, Zhuang, Wang, Qiao, AAAI 2020).

    Args:
        better: [R], 0..1, probabilities of the true class from features weighed by their own gate.
        worse: [R], 0..1, the same from features weighed by the gate of the other image.
        margin: by how much the former should exceed the latter.

    Returns:
        Scalar >= 0; 0 where there are no scores, still connected to the graph.
    """
    return functional.relu(worse - better + margin).sum() / max(better.numel(), 1)


def true_class_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Softmax probability [N] of the classes `targets`, long [N], under `logits` [N, C]; float32 or wider."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    return logits.softmax(dim=1, dtype=wide).gather(1, targets.unsqueeze(1)).squeeze(1)
