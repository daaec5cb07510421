"""One answer a picture out of the answers to its tiles; a picture with one row keeps its answer as it is."""

import torch
from torch import Tensor


def first_rows(positions: Tensor) -> Tensor:
    """Where each picture begins, long [P], in rows [N] whose `positions` say of which picture they are.

    The rows of one picture follow each other.
    """
    counts: Tensor = torch.unique_consecutive(positions, return_counts=True)[1]
    return counts.cumsum(0) - counts


def averaged(positions: Tensor, values: Tensor) -> Tensor:
    """The mean [P, ...] over the rows of each picture of `values` [N, ...], pictures in their order."""
    _, picture, counts = torch.unique_consecutive(positions, return_inverse=True, return_counts=True)
    if len(counts) == len(positions):
        return values
    sums = values.new_zeros(len(counts), *values.shape[1:]).index_add_(0, picture, values)
    means: Tensor = sums / counts.view(-1, *[1] * (values.dim() - 1))
    return means


def voted(positions: Tensor, logits: Tensor) -> Tensor:
    """Logits [P, C] whose softmax is the mean of the softmax of each picture's rows of `logits` [N, C].

    They are the logarithm of that mean, so their cross entropy is its negative logarithm at the true class.
    """
    if len(first_rows(positions)) == len(positions):
        return logits
    probabilities = averaged(positions, logits.softmax(1))
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
