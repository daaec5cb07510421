"""Notices work that takes longer than it may."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

_LONGEST_WAIT = 1.0  # seconds from one look at all work to the next; of a shorter limit, a tenth


class Deadlines:
    """Calls back for work that is not finished in time; thread-safe.

    One thread watches all work, and ends when there is none: a timer for each piece of work is a thread each, which
    takes a tenth of the time of a small one.

    Args:
        seconds: that a piece of work may take; a callback may be up to a second late, or a tenth of a shorter limit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._late: dict[object, tuple[float, Callable[[], object]]] = {}  # when each is late, and what is called
        self._lock = threading.Lock()
        self._watch: threading.Thread | None = None

    @contextlib.contextmanager
    def watched(self, late: Callable[[], object]) -> Iterator[None]:
        """The work of a `with` block.

        Args:
            late: is called from another thread when the time is over, and again until the block has ended.
        """
        work = object()
        with self._lock:
            self._late[work] = time.monotonic() + self._seconds, late
            if self._watch is None or not self._watch.is_alive():  # a fork has no thread of its parent
                self._watch = threading.Thread(target=self._look, daemon=True)
                self._watch.start()
        try:
            yield
        finally:
            with self._lock:
                del self._late[work]

    def _look(self) -> None:
        while True:
            time.sleep(min(_LONGEST_WAIT, self._seconds / 10))
            with self._lock:
                if not self._late:
                    self._watch = None
                    return
                for end, late in self._late.values():
                    if time.monotonic() > end:
                        late()
