import io
from pathlib import Path

import pytest
from rich.console import Console

from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.overview import Overview, duration
from fpcn_lightning.sweep.slots import Slot


class Sweep:
    """An overview of a sweep whose events the test makes."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.seconds = 0.0
        self.screen = io.StringIO()
        console = Console(file=self.screen, force_terminal=terminal, width=100)
        self.overview = Overview(console, clock=lambda: self.seconds)
        self.jobs: dict[str, Job] = {}

    def start(self, name: str, slot: int = 0) -> None:
        self.jobs[name] = Job(name, Path("runs") / name, ())
        self.overview.started(self.jobs[name], Slot(slot, {}))

    def end(self, name: str, seconds: float, returncode: int = 0, *, skipped: bool = False) -> str:
        self.overview.ended(Ended(self.jobs[name], returncode, seconds, skipped, "out of memory"))
        return self.screen.getvalue().splitlines()[-1]


def test_without_a_terminal_every_event_is_one_line() -> None:
    sweep = Sweep()
    with sweep.overview.shown(24, 1):
        sweep.start("mask/seed-0")
        assert sweep.end("mask/seed-0", 92) == "[1/24] mask/seed-0 finished in 92 s, 23 to go, about 35 min left"
        sweep.start("mask/seed-1")
        killed = sweep.end("mask/seed-1", 3, returncode=-9)
        assert killed.startswith(
            "[2/24] mask/seed-1 failed after 3 s (out of memory; runs/mask/seed-1/output.log), 22 to go"
        )
        sweep.start("mask/seed-2")
        assert "mask/seed-2 taken by another process, 21 to go" in sweep.end("mask/seed-2", 1, returncode=75)
    assert sweep.screen.getvalue().startswith("mask/seed-0 started in slot 0: runs/mask/seed-0/output.log\n")


def test_a_long_name_stays_on_its_line() -> None:
    sweep = Sweep()
    name = "v" * 150
    with sweep.overview.shown(1, 1):
        sweep.start(name)
        assert sweep.end(name, 1).startswith(f"[1/1] {name} finished")


def test_time_left_counts_only_jobs_that_finished_in_this_sweep() -> None:
    sweep = Sweep()
    with sweep.overview.shown(10, 2):
        for name, skipped, code in (("a", True, 0), ("b", False, 1), ("c", False, 75)):
            sweep.start(name)
            sweep.end(name, 1, code, skipped=skipped)
        assert sweep.overview.seconds_left() is None
        sweep.start("d")
        sweep.end("d", 100)
        # Six are left for two slots: three rounds of 100 seconds.
        assert sweep.overview.seconds_left() == pytest.approx(300)


def test_time_left_follows_the_slots() -> None:
    sweep = Sweep()
    with sweep.overview.shown(4, 2):
        sweep.start("a", 0)
        sweep.start("b", 1)
        sweep.seconds = 100
        sweep.end("a", 100)
        sweep.start("c", 0)
        # b should have ended by now, so d starts now, like c.
        assert sweep.overview.seconds_left() == pytest.approx(100)
        sweep.seconds = 140
        sweep.end("b", 140)
        sweep.start("d", 1)
        assert sweep.overview.seconds_left() == pytest.approx(120)


def test_without_a_known_total_no_time_is_estimated() -> None:
    sweep = Sweep()
    with sweep.overview.shown(None, 1):
        sweep.start("a")
        assert sweep.end("a", 5) == "[1] a finished in 5 s"


def test_a_terminal_shows_what_runs_in_which_slot() -> None:
    sweep = Sweep(terminal=True)
    with sweep.overview.shown(3, 2):
        sweep.start("plain/seed-0", 0)
        sweep.start("full/seed-0", 1)
        sweep.end("plain/seed-0", 30)
        sweep.seconds = 45
        sweep.overview.refresh()
        last = sweep.screen.getvalue().rpartition("done")[2]
    assert "1 finished, 1 running, 2 to go, about 30 s left" in last
    assert "full/seed-0" in last
    assert "45 s" in last
    assert "plain" not in last


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (92, "92 s"), (1860, "31 min"), (12000, "3 h 20 min"), (7199, "2 h 0 min")]
)
def test_a_duration_has_a_suitable_unit(seconds: float, said: str) -> None:
    assert duration(seconds) == said
