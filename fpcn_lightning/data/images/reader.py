"""Reads images in helper processes, which a hostile or damaged file may hang, exhaust or crash."""

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fpcn_lightning.data.images.decoding import Decoded
from fpcn_lightning.data.images.fit import SquareFit
from fpcn_lightning.data.images.limits import DEFAULT_LIMITS, ImageLimits, UnreadableImage
from fpcn_lightning.data.images.shapes import Shape, ShapeRule
from fpcn_lightning.data.images.worker import MAX_REASON, READY, REPLY
from fpcn_lightning.deadlines import Deadlines
from fpcn_lightning.errors import UserError

_START = """\
import sys
sys.path[:] = {path!r}
from fpcn_lightning.data.images.limits import ImageLimits
from fpcn_lightning.data.images.worker import run
run(ImageLimits({megapixels!r}, {megabytes!r}, {seconds!r}))
"""
# A process decodes one picture at a time: threads of libraries would only take memory.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_PIPE_BYTES = 2**20  # a picture of 224 x 224 pixels in one piece; the default of Linux is 64 KiB
_DIGEST_LENGTH = 40


class ImageReader:
    """Reads images in helper processes; a context manager, thread-safe.

    A process is started when all others are busy, so that there are as many as threads that read at once. A process
    that exceeds the limits of time or memory, or crashes, is replaced, and only its picture is refused. Memory is
    limited on Linux alone. One process is kept for the next reader with the same limits, because a start takes as long
    as a hundred small pictures.

    Args:
        limits: of each file.
    """

    def __init__(self, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._idle: list[_Process] = []
        self._deadlines = Deadlines(limits.seconds)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes except one; must be called when no thread reads any more."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle[1:]:
            process.end()
        for process in idle[:1]:
            _SPARE.put(process)

    def read(self, path: Path, shape: Shape | ShapeRule | SquareFit | None = None) -> Decoded:
        """Read a file and decode it as `decode` does.

        Raises:
            UnreadableImage: as `read_file` and `decode`, or the time or the memory was not sufficient.
            UserError: no process can be started.
        """
        with self._lock:
            process = self._idle.pop() if self._idle else None
        if process is None:
            process = _SPARE.take(self._limits) or _Process(self._limits)
        try:
            with self._deadlines.watched(process.expire):
                image = process.read(path, shape)
        except UnreadableImage:
            self._keep(process)
            raise
        except BaseException:
            process.end()
            raise
        self._keep(process)
        return image

    def _keep(self, process: "_Process") -> None:
        if process.alive:
            with self._lock:
                self._idle.append(process)
        else:
            process.end()


class _Process:
    """One helper process.

    Attributes:
        alive: it can read another picture.
        limits: as given.
        owner: the process that started it; a fork of that must not use it.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self.alive, self._expired = True, False
        self.limits = limits
        self.owner = os.getpid()
        code = _START.format(
            path=sys.path, megapixels=limits.megapixels, megabytes=limits.megabytes, seconds=limits.seconds
        )
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT},
                pipesize=_PIPE_BYTES if sys.platform == "linux" else -1,
            )
        except OSError as error:
            raise UserError(f"No process to read pictures can be started: {error.strerror or error}.") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout
        if self._replies.read(len(READY)) != READY:
            self.end()
            raise UserError(f"The process to read pictures ended with exit code {self._process.returncode}.")

    def read(self, path: Path, shape: Shape | ShapeRule | SquareFit | None) -> Decoded:
        """As `ImageReader.read`."""
        try:
            # Absolute, because the working folder of the process may be another one.
            self._requests.write(pickle.dumps((Path(path).absolute(), shape)))
            self._requests.flush()
            return self._reply()
        except (EOFError, OSError, ValueError) as error:
            self.end()
            if self._expired:
                reason = f"reading it took longer than the limit of {self.limits.seconds:g} seconds"
                raise UnreadableImage(f"{reason} (option --max-seconds or, in training, data.limits.seconds)") from None
            raise UnreadableImage(f"damaged or too large: the decoder {self._ending()}") from error

    def is_running(self) -> bool:
        """Whether nobody has ended the process."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process and wait for it."""
        self.alive = False
        self._process.kill()
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):  # what was not yet written to a process that has ended
                pipe.close()
        self._process.wait()

    def expire(self) -> None:
        """Stop what the process reads, from another thread."""
        self.alive, self._expired = False, True
        self._process.kill()

    def _ending(self) -> str:
        code = self._process.returncode
        return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"

    def _reply(self) -> Decoded:
        read, length, rows, columns, height, width = REPLY.unpack(self._exactly(REPLY.size))
        if length != _DIGEST_LENGTH if read else length > MAX_REASON:
            raise ValueError("not a reply")
        text = self._exactly(length).decode("utf-8")
        if not read:
            raise UnreadableImage(text)
        pixels = np.frombuffer(self._exactly(rows * columns * 3), np.uint8).reshape(rows, columns, 3)
        return Decoded(pixels, width, height, text)

    def _exactly(self, length: int) -> bytearray:
        content = bytearray(length)
        view, done = memoryview(content), 0
        while done < length:
            count = self._replies.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            done += count
        return content


class _Spare:
    """Keeps one idle process until the end of this one."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._lock = threading.Lock()
        atexit.register(self.end)

    def take(self, limits: ImageLimits) -> _Process | None:
        """The process, if it has these limits."""
        with self._lock:
            process = self._process
            if process is None or process.limits != limits or process.owner != os.getpid():
                return None
            self._process = None
        if process.is_running():
            return process
        process.end()
        return None

    def put(self, process: _Process) -> None:
        """Keep a process, and end the one before."""
        with self._lock:
            before, self._process = self._process, process
        if before is not None and before.owner == os.getpid():
            before.end()

    def end(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.owner == os.getpid():
            process.end()


_SPARE = _Spare()
