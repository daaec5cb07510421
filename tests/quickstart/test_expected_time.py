"""The expected time: what is measured, and how the parts add up; the clock is the test's own."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fpcn_lightning.config import CacheConfig, Config, DataConfig
from fpcn_lightning.data.images import ImageReader
from fpcn_lightning.data.scan import reading_processes
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.weights import NotDownloaded
from fpcn_lightning.profiling import step_time
from fpcn_lightning.quickstart import expected_time
from fpcn_lightning.quickstart.expected_time import SECONDS_OF_WRITING, ExpectedTime, duration_text
from fpcn_lightning.quickstart.listing import list_photographs
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.quickstart.photographs import PhotographFacts, SplitCounts, check_photographs
from fpcn_lightning.tasks.budget_text import Budget


class Clock:
    """Time that passes only where `spend` is called."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (expected_time, step_time):
        monkeypatch.setattr(module, "time", made)
    return made


def asked(photographs: Path, **values: Any) -> TrainOptions:
    return TrainOptions(photographs, photographs.parent / "model", **{"budget": Budget(20, "min"), **values})


def test_reading_is_measured_on_the_photographs(
    photographs: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(root=str(photographs), cache=CacheConfig(directory=str(photographs.parent / "cache")))
    read, costs = ImageReader.read, iter([9.0, 1.0, 2.0, 3.0, 2.0, 2.0])

    def slow(self: Any, *arguments: Any) -> Any:
        clock.spend(next(costs))
        return read(self, *arguments)

    monkeypatch.setattr(ImageReader, "read", slow)
    found = list_photographs(asked(photographs))
    # The first one starts the reader: the others take 2 seconds in the mean.
    assert expected_time.seconds_of_reading(found, config) == 2.0 * 36 / reading_processes(36)
    monkeypatch.setattr(ImageReader, "read", read)
    check_photographs(config)
    monkeypatch.setattr(ImageReader, "read", lambda *_: pytest.fail("they are in the cache"))
    assert expected_time.seconds_of_reading(found, config) == 0.0


FACTS = PhotographFacts({"a": SplitCounts(60, 20, 20)}, copies=0, refused=(), fingerprint="f")


@pytest.mark.parametrize(
    ("flags", "training"),
    [
        ({"quick": True, "budget": None}, 0.0),
        ({}, 1000.0 + 20 * 2 * 0.1),
        ({"compare": True}, 2 * (1000.0 + 20 * 2 * 0.1)),
    ],
)
def test_the_parts_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], training: float
) -> None:
    def measure(_: object, *, trained: bool) -> Any:
        return SimpleNamespace(training=1000.0 * trained, view=0.1, rows=2)

    monkeypatch.setattr(expected_time, "_measure", measure)
    found = expected_time.expected_time(asked(tmp_path / "rocks", **flags), FACTS, 0.2, reading=7.0)
    assert (found.reading, found.probe, found.training) == (7.0, 100 * 2 * 0.1, training)
    assert found.export == pytest.approx(SECONDS_OF_WRITING + 3 * 40 * 2 * 0.1)
    assert found.seconds == pytest.approx(7.0 + 20.0 + training + found.export)


def test_weights_that_cannot_be_downloaded_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the keys of the other command line, which this one does not take."""

    def measure(config: Config, *, trained: bool) -> Any:
        if config.model["backbone"] == "resnet101":
            raise NotDownloaded("resnet101", "no network")
        return SimpleNamespace(training=1000.0 * trained, view=0.1, rows=2)

    monkeypatch.setattr(expected_time, "_measure", measure)
    with pytest.raises(UserError) as caught:
        expected_time.expected_time(asked(tmp_path / "rocks", paper=True, budget=None), FACTS, 0.2, reading=7.0)
    assert str(caught.value) == (
        "FPCN as in the paper starts from the pretrained weights of resnet101, which cannot be downloaded (no network)"
        ": run the same command once where there is a network, which keeps them in ~/.cache/huggingface, or copy that "
        "folder from a computer that has them, or leave out --paper."
    )


def test_the_text_names_the_parts() -> None:
    text = ExpectedTime(reading=0.0, probe=50.0, training=1200.0, export=150.0).text
    assert text == (
        "Expected time, measured on this machine: about 23 minutes (linear probe 50 seconds, training 20 minutes, "
        "export 2 minutes)."
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 second"), (119, "119 seconds"), (120, "2 minutes"), (7199, "120 minutes"), (9000, "2.5 hours")],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("each", "runs"), [(0.1, 7), (4.0, 3), (300.0, 1)])
def test_measuring_a_slow_step_ends_soon(clock: Clock, each: float, runs: int) -> None:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        clock.spend(each)

    assert step_time._median_seconds(step, torch.device("cpu")) == pytest.approx(each)
    assert count == runs
