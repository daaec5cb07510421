"""Supervised contrastive loss (Khosla et al., NeurIPS 2020, arXiv 2004.11362): every image against the whole batch."""

import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.distributed import gather_with_gradient, rank_slice, world_size
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class SupervisedContrastiveTerm(LossTerm):
    """`supervised_contrastive_loss` of `Views.features` over the batch of all processes.

    For any network: the features are those that it pools. The paper contrasts the output of a projection network in a
    first stage without classifier, on two augmented views of each image; here the pooled features of one view
    themselves, together with the other terms of the loss.

    A network that locates an object (`Views.whole_features`) has two vectors of each image from one pass: that of the
    object and that of the whole image. Both are contrasted, as the two views of an image are in the paper, so that
    objects come close to whole images of their class and whole images to objects. This use of a mask is ours.

    Args:
        weight: of the term.
        temperature: that similarities are divided by, above 0; 0.1 in the paper.

    Raises:
        UserError: the temperature is not above 0.
    """

    def __init__(self, weight: float, temperature: float = 0.1) -> None:
        super().__init__(weight)
        if not temperature > 0:
            raise UserError(f"loss.supervised_contrastive.temperature={temperature} must be above 0.")
        self.temperature = temperature

    def forward(self, views: Views, labels: Tensor) -> Tensor:
        """Scalar >= 0; its average over the processes is the loss of the whole batch."""
        vectors = views.features
        if views.whole_features is not None:
            vectors, labels = torch.cat([vectors, views.whole_features]), torch.cat([labels, labels])
        features, everyone = gather_with_gradient(vectors), gather_with_gradient(labels)
        own = rank_slice(len(labels), labels.device)
        share = supervised_contrastive_loss(features, everyone, self.temperature, anchors=own)
        return world_size() * share


def supervised_contrastive_loss(
    features: Tensor, labels: Tensor, temperature: float = 0.1, anchors: Tensor | None = None
) -> Tensor:
    """L_out of the paper (equation 2): minus the mean log-probability of the images of the same class.

    The similarity of two images is the cosine of their features over the temperature. Of all other images of the batch,
    each anchor assigns a softmax probability to each; the loss of an anchor is minus the mean of the logarithms over
    the others of its class, and that of the batch the mean over the anchors that have such others. An image that is
    alone in its class is no anchor, and still one of those that the others are told from. Computed in float32 or wider.

    Args:
        features: [N, D]; only their directions matter.
        labels: long [N].
        temperature: above 0.
        anchors: long [A], positions of the anchors whose share of the batch's loss is wanted; None takes all N.

    Returns:
        Scalar >= 0: the sum over the anchors, divided by the number of anchors of the whole batch. 0 where no class has
        two images, still connected to the graph.
    """
    directions = functional.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)
    positions = torch.arange(len(labels), device=labels.device)
    chosen = positions if anchors is None else anchors
    itself = chosen.unsqueeze(1) == positions
    positives = (labels[chosen].unsqueeze(1) == labels) & ~itself
    similarities = directions[chosen] @ directions.T / temperature
    # Finite, because the softmax of a row of infinities, of a batch of one image, has no gradient.
    others = similarities.masked_fill(itself, torch.finfo(similarities.dtype).min)
    logs = similarities - others.logsumexp(dim=1, keepdim=True)
    losses = -(logs * positives).sum(1) / positives.sum(1).clamp(min=1)
    return losses.sum() / _with_company(labels).clamp(min=1)


def _with_company(labels: Tensor) -> Tensor:
    """The number of images, a scalar, whose class has another image in the batch."""
    same = labels.unsqueeze(1) == labels
    return (same.sum(1) > 1).sum()
