"""Work that takes longer than it may."""

import threading

import pytest

from fpcn_lightning.deadlines import Deadlines

LONG_ENOUGH = 30.0  # seconds, that a slow machine may need


def test_late_work_is_called_back() -> None:
    late = threading.Event()
    with Deadlines(0.05).watched(late.set):
        assert late.wait(LONG_ENOUGH)


def test_work_that_ends_in_time_is_not_called_back() -> None:
    deadlines, called = Deadlines(0.05), list[str]()
    with deadlines.watched(lambda: called.append("in time")):
        pass
    late = threading.Event()
    with deadlines.watched(late.set):
        assert late.wait(LONG_ENOUGH)
    assert called == []


def test_work_is_watched_again_after_the_thread_has_ended() -> None:
    deadlines = Deadlines(0.05)
    with deadlines.watched(lambda: None):
        pass
    others = [thread for thread in threading.enumerate() if thread.name.endswith("(_look)")]
    for thread in others:
        thread.join(LONG_ENOUGH)
    late = threading.Event()
    with deadlines.watched(late.set):
        assert late.wait(LONG_ENOUGH)


def test_an_error_of_the_work_ends_the_watch() -> None:
    called = list[str]()
    deadlines = Deadlines(0.05)
    with pytest.raises(ValueError, match="broken"), deadlines.watched(lambda: called.append("late")):
        raise ValueError("broken")
    late = threading.Event()
    with deadlines.watched(late.set):
        assert late.wait(LONG_ENOUGH)
    assert called == []
