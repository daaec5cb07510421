"""`fpcn_lightning.train` is the command `fpcn train`: the same options and steps, a result instead of an exit code."""

import argparse
import inspect
from pathlib import Path
from typing import Any, cast

import pytest

import fpcn_lightning
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.quickstart import options, pipeline
from fpcn_lightning.quickstart.candidates import Candidate
from fpcn_lightning.quickstart.command import main
from fpcn_lightning.quickstart.configs import PLAIN
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.quickstart.pipeline import MadeModel
from fpcn_lightning.runs.results import Result
from fpcn_lightning.stopping import Stopped
from tests.field.conftest import write_bundle
from tests.quickstart.conftest import draw


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for number in range(6):
        draw(tmp_path / "photographs" / ("basalt", "tuff")[number % 2] / f"{number}.png", number)
    return tmp_path / "photographs"


def made_by(asked: list[TrainOptions], bundle: Path) -> Any:
    """Stands for the steps: records what was asked for, and returns a model."""

    def make_model(chosen: TrainOptions, _: object) -> MadeModel:
        asked.append(chosen)
        metrics = {"val": {"plain": {"accuracy": 0.75}}, "test": {"plain": {"accuracy": 0.5}}}
        result = cast(Result, {"metrics": metrics, "inference_mode": "plain"})
        return MadeModel(bundle, Candidate(PLAIN, Path("run"), result), Usability(("too few",)))

    return make_model


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({}, []),
        ({"quick": True, "out": "a model"}, ["--quick", "--out", "a model"]),
        ({"budget": "600steps", "compare": True, "overwrite": True}, ["--budget=600steps", "--compare", "--overwrite"]),
        ({"paper": True}, ["--paper"]),
    ],
    ids=str,
)
def test_keywords_are_the_options_of_the_command(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keywords: dict[str, Any], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked: list[TrainOptions] = []
    bundle = write_bundle(tmp_path / "bundle")
    monkeypatch.setattr(pipeline, "make_model", made_by(asked, bundle))
    trained = fpcn_lightning.train("photographs", **keywords)
    assert main(["train", str(photographs), *words]) == 1  # not usable
    assert asked[0] == asked[1]
    assert (trained.bundle, trained.run, trained.network) == (bundle, Path("run"), PLAIN.title)
    assert (trained.val_accuracy, trained.test_accuracy) == (0.75, 0.5)
    assert not trained.usability.usable
    assert trained.model.classes == ("red", "green", "blue")


def test_every_option_of_the_command_is_a_keyword() -> None:
    parser = argparse.ArgumentParser()
    options.add_options(parser.add_argument)
    known = {action.dest for action in parser._actions} - {"help", "photographs"}
    # A dry run makes no model that could be returned.
    assert known - {"dry_run"} == set(inspect.signature(fpcn_lightning.train).parameters) - {"folder"}


def test_mistakes_are_errors_and_not_exits(photographs: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        fpcn_lightning.train(photographs / "nowhere")
    with pytest.raises(UserError, match="trains nothing but a linear probe"):
        fpcn_lightning.train(photographs, quick=True, budget="5min")
    with pytest.raises(UserError, match="lies in the folder of the photographs"):
        fpcn_lightning.train(photographs, out=photographs / "model")


def test_an_interruption_is_a_keyboard_interrupt(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning ends the process instead, which would end a notebook's cell without a word."""

    def interrupted(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise SystemExit(1)  # noqa: B904 - as Lightning does

    monkeypatch.setattr(pipeline, "make_model", interrupted)
    with pytest.raises(Stopped, match="run the same command again"):
        fpcn_lightning.train(photographs)
