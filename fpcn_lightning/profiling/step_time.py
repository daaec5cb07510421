"""How long a training step and a validation take on this machine, measured before a training is planned."""

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.normalisation import normalised

WARM_UP, MEASURED = 2, 5  # steps
ENOUGH = 10.0  # seconds of measuring, for networks of which one step takes longer than others of a whole epoch


def seconds_per_step(network: Network, terms: nn.ModuleDict, batch: Batch, device: torch.device) -> float:
    """Median wall-clock seconds of the forward and the backward pass of a training step, on copies of its parts.

    Args:
        network: not changed, neither its weights nor its batch-norm statistics.
        terms: of the loss, likewise.
        batch: of the training.
        device: of the training.
    """
    copied, losses = copy.deepcopy(network).to(device).train(), copy.deepcopy(terms).to(device)
    images = normalised(copied, batch.images.to(device))
    labels = batch.labels.to(device).clamp_min(0)  # of images without a class: any class takes the same time
    images = images.contiguous(memory_format=torch.channels_last)
    copied = copied.to(memory_format=torch.channels_last)

    def step() -> None:
        views = copied.views(images, labels)
        total: torch.Tensor = sum(term(views, labels) for term in losses.values())
        copied.zero_grad()
        torch.autograd.backward(total)

    return _median_seconds(step, device)


def seconds_per_image(network: Network, image_size: int, images: int, device: torch.device) -> float:
    """Median wall-clock seconds of one image in validation, in batches of `images`; the network is not changed."""
    copied = copy.deepcopy(network).to(device).eval().to(memory_format=torch.channels_last)
    batch = torch.zeros(images, 3, image_size, image_size, device=device).contiguous(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode():
            copied(batch)

    return _median_seconds(predict, device) / images


def _median_seconds(run: Callable[[], None], device: torch.device) -> float:
    seconds: list[float] = []
    for _ in range(WARM_UP + MEASURED):
        if sum(seconds) > ENOUGH:
            break
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[WARM_UP:] or seconds[-1:])
