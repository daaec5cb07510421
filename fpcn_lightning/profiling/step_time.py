"""The training step in parts that can be timed, and how long a step and a validation take on this machine."""

import contextlib
import copy
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.normalisation import Normalisation

WARM_UP, MEASURED = 2, 5  # steps
ENOUGH = 10.0  # seconds of measuring, for networks of which one step takes longer than others of a whole epoch


@dataclass
class TrainingStep:
    """A step that can be taken again and again, on one batch.

    Attributes:
        loss: the forward pass, as the total loss.
        module: whose parameters are trained.
        optimizer: None takes no step with the gradients.
        device: of the module.
        precision: `fp32`, or `bf16` for mixed precision.
    """

    loss: Callable[[], Tensor]
    module: nn.Module
    optimizer: torch.optim.Optimizer | None
    device: torch.device
    precision: str = "fp32"

    def __call__(self) -> None:
        """Take the step, and wait until it is done."""
        self.backward(self.forward())
        self.optimise()
        synchronize(self.device)

    def forward(self) -> Tensor:
        """The loss, a scalar."""
        mixed = torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else None
        with mixed or contextlib.nullcontext():
            return self.loss()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss."""
        self.module.zero_grad()
        torch.autograd.backward(loss)

    def optimise(self) -> None:
        """Change the parameters."""
        if self.optimizer is not None:
            self.optimizer.step()


def total_loss(network: Network, terms: nn.ModuleDict, batch: Batch) -> Callable[[], Tensor]:
    """The forward pass of a training step, from bytes to the weighted sum of the terms.

    Args:
        network: in training mode, on the device of the batch, channels last in memory.
        terms: of the loss, likewise.
        batch: of the training; its images are normalised in every call, as in a training.
    """
    normalise = Normalisation(network).to(batch.images.device)
    labels = batch.labels.clamp_min(0)  # of images without a class: any class takes the same time

    def loss() -> Tensor:
        images = normalise(batch.images).contiguous(memory_format=torch.channels_last)
        views = network.views(images, labels)
        return torch.stack([term.weight * term(views, labels) for term in terms.values()]).sum()

    return loss


def training_step(
    network: Network,
    terms: nn.ModuleDict,
    batch: Batch,
    device: torch.device,
    make_optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
    precision: str = "fp32",
) -> TrainingStep:
    """The step of a network with the terms of its loss, which are moved to the device and changed.

    Args:
        network: in training mode afterwards.
        terms: likewise.
        batch: of the training.
        device: of the training.
        make_optimizer: of the parameters that are trained; None: forward and backward pass only.
        precision: `fp32`, or `bf16` for mixed precision.
    """
    network.to(device).to(memory_format=torch.channels_last).train()
    loss = total_loss(network, terms.to(device), Batch(*(part.to(device) for part in batch)))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = None if make_optimizer is None else make_optimizer(trained)
    return TrainingStep(loss, network, optimizer, device, precision)


def seconds_per_step(network: Network, terms: nn.ModuleDict, batch: Batch, device: torch.device) -> float:
    """Median wall-clock seconds of the forward and the backward pass of a training step, on copies of its parts.

    Args:
        network: not changed, neither its weights nor its batch-norm statistics.
        terms: of the loss, likewise.
        batch: of the training.
        device: of the training.
    """
    step = training_step(copy.deepcopy(network), copy.deepcopy(terms), batch, device)
    return _median_seconds(step, device)


def seconds_per_image(network: Network, image_size: int, images: int, device: torch.device) -> float:
    """Median wall-clock seconds of one image in validation, in batches of `images`; the network is not changed."""
    copied = copy.deepcopy(network).to(device).eval().to(memory_format=torch.channels_last)
    batch = torch.zeros(images, 3, image_size, image_size, device=device).contiguous(memory_format=torch.channels_last)

    def predict() -> None:
        with torch.inference_mode():
            copied(batch)

    return _median_seconds(predict, device) / images


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _median_seconds(run: Callable[[], object], device: torch.device) -> float:
    seconds: list[float] = []
    for _ in range(WARM_UP + MEASURED):
        if sum(seconds) > ENOUGH:
            break
        began = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[WARM_UP:] or seconds[-1:])
