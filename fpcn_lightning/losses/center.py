"""Centre loss (Wen et al., ECCV 2016), which pulls features to the centre of their class, and the update of centres."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.distributed import sum_over_ranks, world_size
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.losses.views import Views


class _Totals(NamedTuple):
    """Sum [C, D] of the features and number [C] of the images of each class."""

    sums: Tensor
    counts: Tensor


def center_loss(
    features: Tensor, labels: Tensor, centers: Tensor, reduction: Literal["mean", "sum"] = "mean"
) -> Tensor:
    """Half the squared distance of each feature vector to the centre of its class.

    FPCN (Electronics 2023, 12(23), 4805), equation 11, and Wen et al., equation 2, are the sum; the mean over the batch
    is that of Wen's published layer and does not depend on the size of the batch.

    Args:
        features: [B, D].
        labels: long [B], 0..C-1.
        centers: [C, D].
        reduction: "mean" or "sum" over the batch.

    Returns:
        Scalar >= 0; 0 for an empty batch.
    """
    total = 0.5 * (features - centers[labels]).square().sum()
    return total if reduction == "sum" else total / max(len(features), 1)


def batch_mean_centers(features: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """New centres [C, D] by FPCN, equation 10: c + sum_i (x_i - c) / m, which is the mean of the class in the batch.

    m is taken to be the number of images of the class in the batch. Absent classes keep their centre.

    Args:
        features: [B, D].
        labels: long [B], 0..C-1.
        centers: [C, D].
    """
    return _batch_mean(centers, _totals(features, labels, len(centers)))


def wen_centers(features: Tensor, labels: Tensor, centers: Tensor, rate: float = 0.5) -> Tensor:
    """New centres [C, D] by Wen et al., equation 4: c_j - rate * sum_i (c_j - x_i) / (1 + n_j).

    The sum is over the n_j images of class j. A centre moves n / (1 + n) * rate of the way to the mean of its class;
    absent classes keep theirs.

    Args:
        features: [B, D].
        labels: long [B], 0..C-1.
        centers: [C, D].
        rate: 0..1, alpha in the paper.
    """
    return _wen(centers, _totals(features, labels, len(centers)), rate)


def moving_average_centers(features: Tensor, labels: Tensor, centers: Tensor, rate: float = 0.05) -> Tensor:
    """New centres [C, D] by PCA-Net (Zhang et al. 2021, arXiv 2101.08527): c + rate * (mean of the class - c / |c|).

    Features are compared with the direction c / |c|, which counts as zero for a centre of zeros. The step, too, is
    taken from the direction, as in the authors' code: the norm of a centre stays about that of a step, and the centre
    follows the last few batches. Their code adds one difference per image, but of the images of one class only the last
    one takes effect; here it is their mean. Absent classes keep their centre.

    Args:
        features: [B, D], of norm 1.
        labels: long [B], 0..C-1.
        centers: [C, D].
        rate: 0..1.
    """
    return _moving_average(centers, _totals(features, labels, len(centers)), rate)


class CenterLoss(nn.Module):
    """Centre loss with its centres; the gradient reaches the features only.

    In training the centres are updated after the loss is computed, from the sums over the batches of all processes, so
    that every process holds the centres that one process would have after the whole batch. In evaluation they stay.

    Features of a class that was not seen before are compared with their mean in the batch, instead of with the initial
    zeros, towards which they would be pulled. The papers give no initial centres; this choice is ours. So is the L2
    normalisation: the papers do not give the scale of the features, on which the weight of this loss depends. The
    moving average follows its authors' code instead: centres start at zero, and features are compared with their
    directions.

    Computed in float32, or in float64 where features or centres are.

    Args:
        classes: C.
        dim: D.
        update: "batch_mean" (FPCN, equation 10), "wen", or "moving_average" (PCA-Net).
        rate: of Wen's rule and of the moving average, 0..1.
        normalise: divide each feature vector by its L2 norm first.
        reduction: "mean", or "sum" as equation 11 is printed; a sum is over the batches of all processes.

    Raises:
        UserError: update or reduction is unknown, or rate is not in 0..1.
    """

    centers: Tensor
    seen: Tensor

    def __init__(
        self,
        classes: int,
        dim: int,
        *,
        update: Literal["batch_mean", "wen", "moving_average"] = "batch_mean",
        rate: float = 0.5,
        normalise: bool = True,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        check_choice("loss.center.update", update, ("batch_mean", "wen", "moving_average"))
        check_choice("loss.center.reduction", reduction, ("mean", "sum"))
        if not 0 <= rate <= 1:
            raise UserError(f"loss.center.rate={rate} must be in 0..1.")
        self.update = update
        self.rate = rate
        self.normalise = normalise
        self.reduction = reduction
        self.register_buffer("centers", torch.zeros(classes, dim))
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.bool))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Loss, a scalar >= 0, of features [B, D] with labels, long [B], 0..C-1; B is the same on every process.

        The average over the processes is the loss of the whole batch, as DistributedDataParallel expects.
        """
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        if self.normalise:
            features = functional.normalize(features, dim=1)
        totals = _totals(features.detach(), labels, len(self.centers))
        if self.training:
            totals = _Totals(*map(sum_over_ranks, totals))
        if self.update == "moving_average":
            centers, compared = self.centers, functional.normalize(self.centers, dim=1)
        else:
            centers = torch.where(self.seen.unsqueeze(1), self.centers, _batch_mean(self.centers, totals))
            compared = centers
        loss = center_loss(features, labels, compared, self.reduction)
        if self.training:
            self._move(centers, totals)
        return loss * world_size() if self.training and self.reduction == "sum" else loss

    @torch.no_grad()
    def _move(self, centers: Tensor, totals: _Totals) -> None:
        if self.update == "batch_mean":
            moved = _batch_mean(centers, totals)
        elif self.update == "wen":
            moved = _wen(centers, totals, self.rate)
        else:
            moved = _moving_average(centers, totals, self.rate)
        self.centers.copy_(moved)
        self.seen.logical_or_(totals.counts > 0)


class CenterTerm(LossTerm):
    """`CenterLoss` of `Views.features`: pooled features, before any gate of a pair.

    The FPCN paper does not say which features x_i of equation 11 are. Those before the gate exist once for each image;
    those after it depend on the partner, so that an image would have as many as it has pairs.

    Args:
        weight: lambda of FPCN's equation 12.
        classes: number of classes C.
        feature_dim: channels D of the features.
        update, rate, normalise, reduction: see `CenterLoss`.
    """

    def __init__(
        self,
        weight: float,
        *,
        classes: int,
        feature_dim: int,
        update: Literal["batch_mean", "wen", "moving_average"] = "batch_mean",
        rate: float = 0.5,
        normalise: bool = True,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__(weight)
        self.loss = CenterLoss(classes, feature_dim, update=update, rate=rate, normalise=normalise, reduction=reduction)

    def forward(self, views: Views, labels: Tensor) -> Tensor:
        """Scalar >= 0; see `CenterLoss`."""
        term: Tensor = self.loss(views.features, labels)
        return term


def _totals(features: Tensor, labels: Tensor, classes: int) -> _Totals:
    sums = features.new_zeros(classes, features.shape[1]).index_add(0, labels, features)
    counts = features.new_zeros(classes).index_add(0, labels, features.new_ones(len(labels)))
    return _Totals(sums, counts)


def _batch_mean(centers: Tensor, totals: _Totals) -> Tensor:
    counts = totals.counts.unsqueeze(1)
    return torch.where(counts > 0, totals.sums / counts.clamp(min=1), centers)


def _wen(centers: Tensor, totals: _Totals, rate: float) -> Tensor:
    counts = totals.counts.unsqueeze(1)
    return centers - rate * (counts * centers - totals.sums) / (1 + counts)


def _moving_average(centers: Tensor, totals: _Totals, rate: float) -> Tensor:
    moves = rate * (totals.counts.unsqueeze(1) > 0)
    return centers + moves * (_batch_mean(centers, totals) - functional.normalize(centers, dim=1))
