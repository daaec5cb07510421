from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.profiling import throughput as speed

MODULE: Any = None  # the module, which is not used


class _Hours:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _batch(*positions: int) -> Batch:
    number = len(positions)
    return Batch(torch.zeros(number, 3, 2, 2), torch.zeros(number), torch.tensor(positions))


def _trainer(batches: int, processes: int = 1) -> Any:
    return SimpleNamespace(num_training_batches=batches, world_size=processes)


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> _Hours:
    clock = _Hours()
    monkeypatch.setattr(speed, "_now", clock)
    return clock


def test_training_time_excludes_the_first_batch_and_includes_waiting(hours: _Hours) -> None:
    measured, trainer = speed.Throughput(), _trainer(3)
    for _epoch in range(2):
        for number, seconds in enumerate((100.0, 2.0, 3.0)):
            hours.now += seconds
            measured.on_train_batch_end(trainer, MODULE, None, _batch(0, 1, 2, 3, 4), number)
        hours.now += 1000  # validation
    assert measured.images_per_second["training"] == 20 / 10


def test_an_interrupted_epoch_is_not_counted(hours: _Hours) -> None:
    measured, trainer = speed.Throughput(), _trainer(3)
    for number in (0, 1, 0, 1, 2):
        hours.now += 1
        measured.on_train_batch_end(trainer, MODULE, None, _batch(0, 1), number)
    assert measured.images_per_second["training"] == 2


def test_inference_time_excludes_loader_first_batch_padding_and_further_tiles(hours: _Hours) -> None:
    measured, trainer = speed.Throughput(), _trainer(1, processes=2)
    measured.setup(trainer, MODULE, "test")
    for number, batch in enumerate([_batch(0, 1, 2), _batch(3, 3, 3), _batch(4, 5, -1)]):
        hours.now += 50  # the loader
        measured.on_test_batch_start(trainer, MODULE, batch, number)
        hours.now += 0.5
        measured.on_test_batch_end(trainer, MODULE, None, batch, number)
    assert measured.images_per_second["inference"] == 2 * 3 / 1.0


def test_a_single_batch_is_counted(hours: _Hours) -> None:
    measured, trainer = speed.Throughput(), _trainer(1)
    measured.on_train_batch_end(trainer, MODULE, None, _batch(0), 0)
    measured.on_test_batch_start(trainer, MODULE, _batch(0), 0)
    hours.now += 0.25
    measured.on_test_batch_end(trainer, MODULE, None, _batch(0), 0)
    assert measured.images_per_second == {"training": None, "inference": 4}
