"""Signals that end a program: SIGTERM and SIGHUP do what Ctrl-C does, and a training saves its state first."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn

SIGHUP = getattr(signal, "SIGHUP", None)  # Windows has none
LIKE_CTRL_C = (signal.SIGTERM, *(() if SIGHUP is None else (SIGHUP,)))
ALL = (signal.SIGINT, *LIKE_CTRL_C)
_AT_ONCE = b"\nstopping after this step; a second signal stops at once\n"

Handler = Callable[[int, FrameType | None], Any]


class Stopped(KeyboardInterrupt):
    """A signal has stopped the program; the message says which, and how to go on.

    Args:
        number: of the signal.
        after: what was finished before, such as ` after step 3`, if the same command goes on from there.

    Attributes:
        exit_code: 128 and the number of the signal, by which shells recognise it.
    """

    def __init__(self, number: int, after: str = "") -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        super().__init__(
            f"stopped by {name}{after}; run the same command again{' to go on from there' if after else ''}."
        )
        self.exit_code = 128 + number


def stopped(error: BaseException) -> Stopped | None:
    """The `Stopped` that an error stands for; None for one that is not about a signal.

    Lightning ends with exit code 1 where it meets a KeyboardInterrupt.
    """
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        error = error.__context__
    if isinstance(error, KeyboardInterrupt):
        return error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
    return None


def exit_code_of(error: KeyboardInterrupt) -> int:
    """The exit code of a program that this error has ended."""
    return error.exit_code if isinstance(error, Stopped) else 128 + signal.SIGINT


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    raise Stopped(number)


@contextlib.contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Stopped`, a KeyboardInterrupt, unless they are ignored (nohup)."""
    with _restored():
        _handle(LIKE_CTRL_C, _raise)
        yield


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL}
    try:
        yield
    finally:
        for number, earlier in before.items():
            if earlier is not None and _can_handle():  # None is a handler that is not one of Python
                signal.signal(number, earlier)


def _handle(numbers: Iterable[int], handler: Handler) -> None:
    """Handle these signals by `handler`, except those that are ignored."""
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN and _can_handle():
            signal.signal(number, handler)


def _can_handle() -> bool:
    return threading.current_thread() is threading.main_thread()


class _Leave(BaseException):
    """Leaves Lightning's loops, which would treat a KeyboardInterrupt in their own way."""


class StopRequest:
    """Whether a signal has asked to stop: the first waits until the state is saved, a second one stops at once.

    Attributes:
        number: of the signal; None without one.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._after = ""

    def __call__(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature of a handler
        """Handle a signal."""
        if self.number is not None:
            raise Stopped(number)
        self.number = number
        with contextlib.suppress(OSError):
            os.write(2, _AT_ONCE)  # printing is not safe while a signal is handled

    def listen(self) -> None:
        """Handle Ctrl-C and what is like it until the block of `obeyed` is over."""
        _handle(ALL, self)

    def leave(self, after: str) -> NoReturn:
        """End the block of `obeyed`; `after` is what was finished."""
        self.number = self.number or signal.SIGTERM  # another process of a distributed run has received the signal
        self._after = after
        raise _Leave

    @contextlib.contextmanager
    def obeyed(self) -> Iterator[None]:
        """End the block with `Stopped` if a signal has asked for it.

        Raises:
            Stopped: when the block is left by `leave`, or is over.
        """
        with contextlib.suppress(_Leave), _restored():
            yield
        if self.number is not None:
            raise Stopped(self.number, self._after)
