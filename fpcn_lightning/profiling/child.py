"""A process of its own for what is measured, so that memory and page faults are those of nothing else."""

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from fpcn_lightning.allocator import keep_freed_memory

STATUS = Path("/proc/self/status")  # of Linux
HIGHEST = "VmHWM:"  # its entry for the most memory that was in use so far, in kB
ENDS_WITHIN = 10.0  # seconds


class Cost(NamedTuple):
    """Of one call."""

    seconds: float
    page_faults: int | None  # None where the system does not count them


class Memory(NamedTuple):
    """Of a process, bytes; None where the system does not say."""

    before: int | None  # when everything was imported, and nothing made
    peak: int | None  # since then


class FailedChildError(Exception):
    """What was measured raised an error; the message is its first line."""


class Child:
    """Makes something callable in a process of its own, and calls it when asked.

    Args:
        make: picklable; returns what is called. On a GPU the call waits until the GPU is done.
        threads: of torch.
        keep_memory: whether freed memory stays in the process (`fpcn_lightning.allocator`).

    Raises:
        FailedChildError: it cannot be made.
    """

    def __init__(self, make: Callable[[], Callable[[], object]], threads: int, *, keep_memory: bool = True) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, threads, keep_memory), daemon=True)
        self._process.start()
        other.close()
        self._received()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(ENDS_WITHIN)
        if self._process.is_alive():
            self._process.terminate()

    def call(self) -> Cost:
        """Call it once.

        Raises:
            FailedChildError: it raised an error.
        """
        return Cost(*self._answered("call"))

    def memory(self) -> Memory:
        """The memory so far.

        Raises:
            FailedChildError: the process has ended.
        """
        return Memory(*self._answered("memory"))

    def _answered(self, question: str) -> tuple[Any, ...]:
        with contextlib.suppress(OSError):  # after an error it has ended; reading says so
            self._connection.send(question)
        return self._received()

    def _received(self) -> tuple[Any, ...]:
        try:
            content: tuple[Any, ...] | str = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(ENDS_WITHIN)
            raise FailedChildError(f"its process ended with exit code {self._process.exitcode}") from None
        if isinstance(content, str):
            raise FailedChildError(content)
        return content


def _serve(connection: Connection, make: Callable[[], Callable[[], object]], threads: int, keep_memory: bool) -> None:
    """What the process runs."""
    try:
        if keep_memory:
            keep_freed_memory()
        import torch

        torch.set_num_threads(threads)
        before = peak_memory()
        run = make()
        connection.send(())
        while True:
            question = connection.recv()
            connection.send(Memory(before, _device_memory() or peak_memory()) if question == "memory" else _cost(run))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass  # the parent is done
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        connection.send(f"{type(error).__name__}: {lines[0]}".rstrip(": "))


def _cost(run: Callable[[], object]) -> Cost:
    faults, began = page_faults(), time.perf_counter()
    run()
    seconds, after = time.perf_counter() - began, page_faults()
    return Cost(seconds, None if faults is None or after is None else after - faults)


def page_faults() -> int | None:
    """Page faults of this process that read nothing from disk; None where the system does not count them."""
    if sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def peak_memory() -> int | None:
    """The most memory that this process has used so far, bytes; None where the system does not say."""
    if sys.platform == "win32":
        return None
    try:  # not `getrusage`, which on Linux begins with the memory of the parent process
        lines = STATUS.read_text(encoding="utf-8").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(HIGHEST))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def _device_memory() -> int | None:
    """The most memory of tensors on the GPU so far, bytes; None without a GPU that was used."""
    import torch

    return torch.cuda.max_memory_allocated() or None if torch.cuda.is_available() else None
