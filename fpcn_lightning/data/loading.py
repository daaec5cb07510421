"""Loaders whose workers hand over batches in shared memory: its size is checked, and no failure of it is silent."""

import errno
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.data.sampler import BalancedBatches
from fpcn_lightning.errors import UserError, megabytes

SHARED_MEMORY = Path("/dev/shm")  # of Linux; elsewhere its size is not limited in this way
PREFETCHED = 2  # batches that each worker has ready
TIMEOUT = 600.0  # seconds for one batch; a worker that needs longer hangs
# How torch's own messages about workers begin; those about an error within one begin with "Caught".
_ENDED = ("DataLoader worker", "DataLoader timed out", "Too many open files", "received 0 items")


def make_loader(
    pictures: Dataset[Batch], sampler: Sampler[Any] | Iterable[Any], workers: int, batch_bytes: int
) -> DataLoader[Batch]:
    """A loader of whole batches, one for each item of the sampler.

    Args:
        pictures: makes a batch from an item of the sampler.
        sampler: its items.
        workers: processes that make batches; 0 makes them in this one.
        batch_bytes: size of one batch.

    Raises:
        UserError: the batches that the workers have ready do not fit into shared memory.
    """
    if workers:
        check_shared_memory(batch_bytes, workers)
    return _Loader(
        _InSharedMemory(pictures, batch_bytes),
        sampler=sampler,
        batch_size=None,  # the sampler's items are whole batches
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=PREFETCHED if workers else None,
        timeout=TIMEOUT if workers else 0,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_ignore_ctrl_c,
    )


def _ignore_ctrl_c(worker: int) -> None:  # noqa: ARG001 - torch's signature
    """Leave it to the main process, which needs further batches until its state is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def at_step(epoch: int, step: int) -> dict[str, int]:
    """The state of a loader before a step of an epoch, both numbered from 0."""
    return {"epoch": epoch, "step": step}


def check_shared_memory(batch_bytes: int, workers: int) -> None:
    """Check that the batches that workers have ready fit into shared memory, and the one in use with them.

    Raises:
        UserError: they do not.
    """
    free = free_shared_memory()
    needed = batch_bytes * (workers * PREFETCHED + 1)
    if free is not None and free < needed:
        raise UserError(_too_small(workers, megabytes(needed), f"{megabytes(free)} are free"))


def free_shared_memory() -> int | None:
    """Bytes that are free in shared memory; None where the system does not say."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return None


def _too_small(workers: int, needed: str, reason: str) -> str:
    return (
        f"{SHARED_MEMORY} is too small for the batches of data.workers={workers}: they need {needed}, {reason}. Use "
        "fewer workers, read the images in the main process with data.workers=0, or start the container with a larger "
        "one, docker run --shm-size=2g."
    )


class _Loader(DataLoader[Batch]):
    """A loader whose workers' failures are one sentence, and which can begin an epoch with a later step."""

    def state_dict(self) -> dict[str, int]:
        """The state at the beginning of a training, which Lightning saves; `at_step` gives those of a later step."""
        return at_step(0, 0)

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Begin an epoch with a later step, without making the batches before it."""
        if isinstance(self.sampler, BalancedBatches):
            self.sampler.resumed = (state["epoch"], state["step"])

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # an iterator is all that a loop needs
        try:
            yield from super().__iter__()
        except Exception as error:
            sentence = _sentence(error, self.num_workers) if self.num_workers else None
            if sentence is None:
                raise
            raise UserError(sentence) from error


def _sentence(error: Exception, workers: int) -> str | None:
    """What the user is told about a worker that failed; None for what a task itself has to explain."""
    text = str(error).strip()
    lines = text.splitlines() or [type(error).__name__]
    if isinstance(error, UserError):
        # torch puts the stack trace of the worker before its message.
        return lines[-1].removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")
    if isinstance(error, OSError | EOFError) or lines[0].startswith(_ENDED):
        return (
            f"the processes of data.workers={workers}, which read the images, could not start, have ended, or hang "
            f"({lines[0].rstrip('. ')}): they may lack memory, or {SHARED_MEMORY} may be missing or full. Use fewer "
            "workers, or read the images in the main process with data.workers=0."
        )
    return None


class _InSharedMemory(Dataset[Batch]):
    """Batches that a worker has put into shared memory itself.

    torch would do it in a thread of the worker, whose error nobody receives: the loader would wait for ever.
    """

    def __init__(self, pictures: Dataset[Batch], batch_bytes: int) -> None:
        self.pictures = pictures
        self.batch_bytes = batch_bytes

    def __getitem__(self, item: Any) -> Batch:
        worker = get_worker_info()
        if worker is None:
            return self.pictures[item]
        try:
            return Batch(*(part.share_memory_() for part in self.pictures[item]))  # type: ignore[no-untyped-call]
        except (RuntimeError, OSError) as error:
            if not _is_full(error):
                raise
            reason = str(error).splitlines()[0]
            raise UserError(_too_small(worker.num_workers, f"{megabytes(self.batch_bytes)} each", reason)) from None


def _is_full(error: Exception) -> bool:
    return (
        getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error) or "shared memory" in str(error)
    )
