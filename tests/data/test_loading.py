"""Workers that cannot hand over their batches, or die, end the run with one sentence instead of a hang."""

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fpcn_lightning.data import loading
from fpcn_lightning.data.loading import check_shared_memory, make_loader
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError

MEGABYTE = 1_000_000


class Batches(Dataset[Batch]):
    """Item 0 is a batch, `die` kills the worker, `refuse` raises a UserError."""

    def __getitem__(self, item: object) -> Batch:
        if item == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if item == "refuse":
            raise UserError("a.jpg could be read when the run began, but not any more.")
        return Batch(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.tensor([1]), torch.tensor([2]))


def test_batches_that_do_not_fit_into_shared_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "free_shared_memory", lambda: 64 * MEGABYTE)
    check_shared_memory(12 * MEGABYTE, workers=2)
    with pytest.raises(UserError, match=r"need 65\.0 MB, 64\.0 MB are free.*data\.workers=0.*docker run --shm-size"):
        check_shared_memory(13 * MEGABYTE, workers=2)
    with pytest.raises(UserError, match=r"data\.workers=8"):
        make_loader(Batches(), [0], 8, 13 * MEGABYTE)
    assert len(list(make_loader(Batches(), [0], 0, 13 * MEGABYTE))) == 1


def test_the_sizes_of_a_message_differ_where_the_room_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "free_shared_memory", lambda: MEGABYTE)
    with pytest.raises(UserError, match=r"need 1\.2 MB, 1\.0 MB are free"):
        check_shared_memory(MEGABYTE // 4, workers=2)


def test_where_there_is_no_shared_memory_to_measure_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SHARED_MEMORY", tmp_path / "absent")
    check_shared_memory(10**15, workers=2)


def test_a_worker_that_finds_no_room_reports_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Tensor) -> Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", full)
    with pytest.raises(UserError, match=r"^/dev/shm is too small for the batches of data\.workers=1: .*No space left"):
        list(make_loader(Batches(), [0], 1, 100))


def test_a_worker_that_is_killed_is_reported() -> None:
    with pytest.raises(UserError, match=r"the processes of data\.workers=1.*have ended.*data\.workers=0"):
        list(make_loader(Batches(), ["die"], 1, 100))


def test_what_a_worker_tells_the_user_comes_without_its_stack_trace() -> None:
    with pytest.raises(UserError, match=r"^a\.jpg could be read when the run began, but not any more\.$"):
        list(make_loader(Batches(), ["refuse"], 1, 100))


def test_workers_that_cannot_start_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_semaphores(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")  # what Linux says without /dev/shm

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__init__", no_semaphores)
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter.__del__", lambda _: None)
    with pytest.raises(UserError, match="/dev/shm may be missing or full"):
        list(make_loader(Batches(), [0], 1, 100))


def test_a_loader_with_workers_does_not_wait_for_ever() -> None:
    assert make_loader(Batches(), [0], 1, 100).timeout == loading.TIMEOUT > 0
