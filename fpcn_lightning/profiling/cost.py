"""The cost of a network: parameters and multiply-accumulates, at inference and in training."""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fpcn_lightning.models.network import Network

MOST_CLASSES = 4  # in the batch that training is counted on


def parameters(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def macs(network: nn.Module, image_size: int) -> int:
    """Multiply-accumulates of convolutions and matrix products for one image [1, 3, S, S].

    PyTorch counts two operations for each. Fused attention is switched off, because it would not be counted.
    """
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    try:
        return _counted(lambda: network(torch.zeros(1, 3, image_size, image_size, device=device)))
    finally:
        network.train(training)


def training_macs(network: Network, image_size: int, classes: int, per_class: int = 2) -> int:
    """Multiply-accumulates of the forward passes of a training step, for each image of its batch.

    All passes of the network are included (pairs, erased images, objects and parts), of the most expensive epoch. The
    backward pass costs about twice as much in addition. The batch is a small one: a larger one has more pairs for each
    image where all pairs are taken, and fewer where their number is limited (CIN).

    Args:
        network: it is not changed, a copy is counted.
        image_size: height and width of the images in training, pixels.
        classes: number of classes C; the batch has images of four of them at most.
        per_class: images of each class in the batch.
    """
    copied = copy.deepcopy(network).train()
    copied.begin_epoch(sys.maxsize)
    device = next(network.parameters()).device
    labels = torch.arange(min(classes, MOST_CLASSES), device=device).repeat_interleave(per_class)
    with torch.random.fork_rng(devices=[]):
        images = torch.rand(len(labels), 3, image_size, image_size, device=device)
        return _counted(lambda: copied.views(images, labels)) // len(labels)


def _counted(run: Callable[[], object]) -> int:
    with torch.no_grad(), _no_fast_path(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2


@contextmanager
def _no_fast_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
