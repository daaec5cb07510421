"""Gathers and sums over the batches of all processes, for pairs and centres under distributed training."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that train together; 1 without an initialised process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank_slice(n_local: int, device: torch.device | None = None) -> Tensor:
    """Positions, long [n_local], of this process's rows in what `gather_with_gradient` returns."""
    first = n_local * dist.get_rank() if world_size() > 1 else 0
    return torch.arange(first, first + n_local, device=device)


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of the tensors of all processes, the same on each; without gradient, and `x` itself with one process."""
    if world_size() == 1:
        return x
    total = x.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def gather_with_gradient(x: Tensor) -> Tensor:
    """Concatenate the tensors of all processes in the order of their ranks.

    The gradient of each process's rows is the sum of the gradients that the losses of all processes send to them. Once
    DistributedDataParallel has averaged over the processes, that is the gradient of the mean of their losses.
    Forward and backward are collective: every process must run both, with a loss that is connected to the result even
    where it has no pairs.

    Args:
        x: [N, ...], of the same shape on every process.

    Returns:
        [world size * N, ...]; `x` itself with one process.
    """
    if world_size() == 1:
        return x
    gathered: Tensor = _Gather.apply(x)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        shares = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(shares, x.contiguous())
        return torch.cat(shares)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        # Not reduce-scatter, which gloo does not support; the tensor is no larger than the pooled features of a batch.
        total = sum_over_ranks(gradient)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
