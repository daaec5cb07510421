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
    """Records the state in which it is called, and advances the clock of the test."""

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
def test_one_image_passes_on_one_thread_in_eval_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Watched(0.01)
    assert timed(network, monkeypatch) == pytest.approx(10)
    assert network.seen == [((1, 3, 24, 24), False, 1, True)] * 22
    assert network.training
    assert network.weight.dtype == torch.float64
    assert torch.get_num_threads() == 3


def test_latency_is_the_median_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timed(Watched(9, 9, 0.03, 0.01, 0.02, 1, 1), monkeypatch) == pytest.approx(30)


@pytest.mark.parametrize(("seconds", "passes"), [(0.3, 7), (5, 1)])
def test_a_slow_network_is_timed_in_fewer_passes(monkeypatch: pytest.MonkeyPatch, seconds: float, passes: int) -> None:
    network = Watched(seconds)
    assert timed(network, monkeypatch) == pytest.approx(1000 * seconds)
    assert len(network.seen) == 2 + passes


@pytest.mark.usefixtures("three_threads")
def test_number_of_threads_is_restored_after_an_error() -> None:
    with pytest.raises(RuntimeError):
        latency.milliseconds(nn.Conv2d(5, 2, 1), 8, CPU)
    assert torch.get_num_threads() == 3


def test_timing_changes_neither_the_network_nor_the_random_state() -> None:
    network = Plain(3, 64, "test_resnet", pretrained=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.random.get_rng_state()
    assert latency.milliseconds(network, 64, CPU) > 0
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
