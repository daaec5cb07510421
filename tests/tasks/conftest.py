"""Complete runs in this process, as small as possible."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.report import run_page
from fpcn_lightning.runs.results import Result, read_result
from tests.conftest import composed

Train = Callable[..., tuple[Path, Result]]


def trained_checkpoint(rocks: Path, place: Path, *overrides: str) -> Path:
    """The checkpoint of a network that was trained on the 30 rocks, with a cache of its own."""
    chosen = ("trainer=smoke", "data=folder", f"data.root={rocks}", "callbacks.summary=null", *overrides)
    run_task(composed(*chosen, f"output={place}", f"data.cache.directory={place}", folder=place))
    return place / "checkpoints" / "best.ckpt"


@pytest.fixture
def train(rocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train on the 30 rocks and return the run folder and its result.

    Figures take half of the time: they are drawn only with `figures=True`.
    """

    def trained(*overrides: str, folder: str = "run", figures: bool = False) -> tuple[Path, Result]:
        if not figures:
            monkeypatch.setattr(run_page, "_drawn", lambda *_: [])
        place = tmp_path / folder
        place.mkdir(exist_ok=True, parents=True)
        chosen = ("trainer=smoke", "data=folder", f"data.root={rocks}", "callbacks.summary=null", *overrides)
        run_task(composed(*chosen, f"output={tmp_path}", folder=place))
        return place, read_result(place / "result.json")

    return trained
