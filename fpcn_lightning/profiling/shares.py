"""Where the time of a training goes: the loader, forward pass, backward pass, optimiser."""

import itertools
import time
from collections.abc import Iterator

import torch
from torch import nn

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.models.network import Network
from fpcn_lightning.profiling.results import BenchmarkRow
from fpcn_lightning.profiling.rounds import spread, threads
from fpcn_lightning.profiling.step_forms import sgd
from fpcn_lightning.profiling.step_time import synchronize, total_loss

PART = "shares"
PARTS = ("loader", "forward", "backward", "optimiser")
UNIT = "% of a step"
WARM_UP = 2  # steps


def measure_shares(
    name: str,
    network: Network,
    terms: nn.ModuleDict,
    data: RockDataModule,
    *,
    device: torch.device,
    rounds: int,
    count: int,
) -> Iterator[BenchmarkRow]:
    """The share of each part of a step, with batches of the loader, from images that are in the cache.

    Args:
        name: of the network, for the rows.
        network: is trained for some steps.
        terms: of the loss.
        data: set up.
        device: of the training.
        rounds: steps.
        count: of threads.
    """
    network.to(device).to(memory_format=torch.channels_last).train()
    terms.to(device)
    optimizer = sgd(parameter for parameter in network.parameters() if parameter.requires_grad)
    batches = _endless(data)
    seconds: list[tuple[float, ...]] = []
    with threads(count):
        for _ in range(WARM_UP + rounds):
            clock = [time.perf_counter()]
            batch = Batch(*(part.to(device) for part in next(batches)))
            clock.append(_now(device))
            loss = total_loss(network, terms, batch)()
            clock.append(_now(device))
            network.zero_grad()
            torch.autograd.backward(loss)
            clock.append(_now(device))
            optimizer.step()
            clock.append(_now(device))
            seconds.append(tuple(after - before for before, after in itertools.pairwise(clock)))
    for number, part in enumerate(PARTS):
        values = [100 * step[number] / sum(step) for step in seconds[WARM_UP:]]
        yield BenchmarkRow(PART, f"{name}: {part}", UNIT, spread(values))


def _endless(data: RockDataModule) -> Iterator[Batch]:
    loader = data.train_dataloader()
    while True:
        yield from loader


def _now(device: torch.device) -> float:
    synchronize(device)
    return time.perf_counter()
