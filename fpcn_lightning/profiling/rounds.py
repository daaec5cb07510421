"""Measures several things side by side: one of each in every round, so that a machine that slows down slows all."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements; with one, all three are the same."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def interleaved(forms: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each form by its name, one value for each round; rounds of warm-up are not counted.

    Args:
        forms: what is measured; each call is one measurement, and ends when its result is on the host.
        rounds: at least 1.
        warm_up: rounds before them.
    """
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for number in range(warm_up + rounds):
        for name, run in forms.items():
            began = time.perf_counter()
            run()
            if number >= warm_up:
                taken[name].append(time.perf_counter() - began)
    return taken


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The spread of the ratio of two things that were measured in the same rounds."""
    return spread([above / below for above, below in zip(numerators, denominators, strict=True)])


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
