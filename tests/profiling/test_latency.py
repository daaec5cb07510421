from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling import latency

CPU = torch.device("cpu")


class Watched(nn.Module):
    """Notes under which circumstances it is called, and lets the clock of the test go on."""

    def __init__(self, *seconds: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.seconds = seconds
        self.seen: list[tuple[Any, ...]] = []
        self.clock = SimpleNamespace(now=0.0)

    def __deepcopy__(self, memo: dict[int, object]) -> "Watched":
        copied = Watched(*self.seconds)
        copied.seen, copied.clock = self.seen, self.clock
        return copied.train(self.training)

    def forward(self, images: Tensor) -> Tensor:
        self.clock.now += self.seconds[min(len(self.seen), len(self.seconds) - 1)]
        circumstances = self.training, torch.get_num_threads(), torch.is_inference_mode_enabled()
        self.seen.append((tuple(images.shape), *circumstances))
        assert self.weight.dtype == images.dtype == torch.float32
        return images.mean().reshape(1)


@pytest.fixture
def three_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def timed(network: Watched, monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: network.clock.now))
    return latency.milliseconds(network, 24, CPU)


@pytest.mark.usefixtures("three_threads")
def test_one_picture_passes_by_one_thread_without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Watched(0.01)
    assert timed(network, monkeypatch) == pytest.approx(10)
    assert network.seen == [((1, 3, 24, 24), False, 1, True)] * 22
    assert network.training
    assert network.weight.dtype == torch.float64
    assert torch.get_num_threads() == 3


def test_it_is_the_median_of_the_warm_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timed(Watched(9, 9, 0.03, 0.01, 0.02, 1, 1), monkeypatch) == pytest.approx(30)


@pytest.mark.parametrize(("seconds", "passes"), [(0.3, 7), (5, 1)])
def test_a_slow_network_passes_less_often(monkeypatch: pytest.MonkeyPatch, seconds: float, passes: int) -> None:
    network = Watched(seconds)
    assert timed(network, monkeypatch) == pytest.approx(1000 * seconds)
    assert len(network.seen) == 2 + passes


@pytest.mark.usefixtures("three_threads")
def test_threads_come_back_after_an_error() -> None:
    with pytest.raises(RuntimeError):
        latency.milliseconds(nn.Conv2d(5, 2, 1), 8, CPU)
    assert torch.get_num_threads() == 3


def test_the_network_and_chance_are_left_as_they_were() -> None:
    network = Plain(3, 64, "test_resnet", pretrained=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.random.get_rng_state()
    assert latency.milliseconds(network, 64, CPU) > 0
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
