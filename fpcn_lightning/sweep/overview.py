"""What a sweep shows while it runs: a line for each event, and on a terminal a live table below them."""

import contextlib
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import fmean

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fpcn_lightning.runs.status import LOG_NAME
from fpcn_lightning.sweep.jobs import Ended, Job, Outcome
from fpcn_lightning.sweep.slots import Slot

_LABELS: dict[Outcome, str] = {
    "finished": "finished",
    "skipped": "finished before",
    "failed": "failed",
    "taken": "taken by another process",
}


class Overview:
    """Counts the jobs that have ended, and estimates how long the rest will take.

    The estimate uses only jobs that finished in this sweep: a job that was finished before takes a second, and one that
    fails says nothing about the others.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._console = console or Console()
        self._clock = clock
        self._total: int | None = None
        self._slots: int | None = None
        self._seconds: list[float] = []
        self._running: dict[Job, tuple[int, float]] = {}
        self._live: Live | None = None
        self._drawn = 0.0

    @contextlib.contextmanager
    def shown(self, total: int | None, slots: int | None) -> Iterator[None]:
        """Show the jobs that run in the block: `total` of them, `slots` at a time; None where that is unknown."""
        self._total, self._slots = total, slots
        if not self._console.is_terminal:
            yield
            return
        # Drawn by `refresh` only: processes should not be started while a thread is drawing.
        live = Live(get_renderable=self._table, console=self._console, auto_refresh=False, transient=True)
        with live as self._live:
            yield
        self._live = None

    def started(self, job: Job, slot: Slot) -> None:
        """A job has started."""
        self._running[job] = (slot.number, self._clock())
        if self._live is None:
            self._say(f"{job.name} started in slot {slot.number}: {job.folder / LOG_NAME}")

    def ended(self, ended: Ended) -> None:
        """A job has ended."""
        self._running.pop(ended.job, None)  # a cluster does not report when a job starts
        self.outcomes[ended.outcome] += 1
        if ended.outcome == "finished":
            self._seconds.append(ended.seconds)
        line = f"[{self._count()}] {ended.job.name} {_LABELS[ended.outcome]}"
        if ended.outcome == "failed":
            line += f" after {duration(ended.seconds)} ({ended.reason}; {ended.job.log})"
        if ended.outcome == "finished":
            line += f" in {duration(ended.seconds)}"
        self._say(line + self._rest())

    def refresh(self) -> None:
        """Redraw the live table, at most four times a second."""
        if self._live is not None and time.monotonic() - self._drawn > 0.25:
            self._drawn = time.monotonic()
            self._live.refresh()

    def seconds_left(self) -> float | None:
        """The estimate: every job takes the mean time of those that finished, in the first slot that is free."""
        if self._total is None or self._slots is None or not self._seconds:
            return None
        mean, now = fmean(self._seconds), self._clock()
        free_at = [max(0.0, mean - (now - began)) for _, began in self._running.values()]
        waiting = self._total - self.outcomes.total() - len(free_at)
        free_at += [0.0] * (self._slots - len(free_at))
        heapq.heapify(free_at)
        for _ in range(waiting):
            heapq.heapreplace(free_at, free_at[0] + mean)
        return max(free_at)

    def _count(self) -> str:
        done = self.outcomes.total()
        return str(done) if self._total is None else f"{done}/{self._total}"

    def _rest(self) -> str:
        words = "" if self._total is None else f", {self._total - self.outcomes.total()} to go"
        left = self.seconds_left()
        return words + (f", about {duration(left)} left" if left else "")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _table(self) -> Group:
        counts = (f"{number} {_LABELS[outcome]}" for outcome, number in self.outcomes.items())
        head = ", ".join([f"{self._count()} done", *counts, f"{len(self._running)} running"]) + self._rest()
        table = Table("slot", "job", "running for", box=None, pad_edge=False, header_style="dim")
        for job, (slot, began) in sorted(self._running.items(), key=lambda item: item[1]):
            table.add_row(str(slot), Text(job.name), duration(self._clock() - began))
        return Group(Text(head, style="bold"), table)


def duration(seconds: float) -> str:
    """Seconds in suitable units: 92 s, 31 min, 3 h 20 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
