"""Average of the predictions of an image's tiles; the prediction of an image with one row is unchanged."""

import torch
from torch import Tensor


def first_rows(positions: Tensor) -> Tensor:
    """Index of the first row of each image, long [P], in rows [N] that belong to the images `positions`.

    The rows of one image are consecutive.
    """
    counts: Tensor = torch.unique_consecutive(positions, return_counts=True)[1]
    return counts.cumsum(0) - counts


def averaged(positions: Tensor, values: Tensor) -> Tensor:
    """The mean [P, ...] over the rows of each image of `values` [N, ...], in the order of the images."""
    _, image, counts = torch.unique_consecutive(positions, return_inverse=True, return_counts=True)
    if len(counts) == len(positions):
        return values
    sums = values.new_zeros(len(counts), *values.shape[1:]).index_add_(0, image, values)
    means: Tensor = sums / counts.view(-1, *[1] * (values.dim() - 1))
    return means


def voted(positions: Tensor, logits: Tensor) -> Tensor:
    """Logits [P, C] whose softmax is the mean of the softmax of each image's rows of `logits` [N, C].

    They are the logarithm of that mean, so their cross entropy is its negative logarithm at the true class.
    """
    if len(first_rows(positions)) == len(positions):
        return logits
    probabilities = averaged(positions, logits.softmax(1))
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
