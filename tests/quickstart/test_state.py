"""What is in the way of a model, and what goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME
from fpcn_lightning.quickstart import state
from fpcn_lightning.quickstart.options import TrainOptions
from fpcn_lightning.quickstart.state import Settings
from fpcn_lightning.tasks.budget_text import Budget


@pytest.fixture
def options(tmp_path: Path) -> TrainOptions:
    return TrainOptions(tmp_path / "rocks", tmp_path / "model", Budget(20, "min"))


def finished(options: TrainOptions) -> None:
    options.model.mkdir()
    (options.model / MANIFEST_NAME).touch()


def begun(options: TrainOptions) -> Path:
    """Begin, and leave a run behind."""
    options.work.mkdir(exist_ok=True)
    state.begin(options, Settings.of(options, "f1"))
    run = options.work / "rocks" / "plain"
    run.mkdir(parents=True, exist_ok=True)
    return run


def test_nothing_is_in_the_way(options: TrainOptions) -> None:
    state.check_free(options)


def test_a_finished_model_is_kept(options: TrainOptions) -> None:
    finished(options)
    with pytest.raises(UserError, match="is finished already: replace it with --overwrite"):
        state.check_free(options)
    state.check_free(replace(options, overwrite=True))


def test_something_else_is_never_replaced(options: TrainOptions) -> None:
    options.model.mkdir()
    (options.model / "thesis.txt").touch()
    with pytest.raises(UserError, match="is no model"):
        state.check_free(replace(options, overwrite=True))


def test_the_folder_of_the_trainings_is_not_that_of_the_user(options: TrainOptions) -> None:
    options.work.mkdir()
    (options.work / "thesis.txt").touch()
    with pytest.raises(UserError, match="has other files"):
        state.check_free(replace(options, overwrite=True))


def test_an_unfinished_model_goes_on(options: TrainOptions) -> None:
    run = begun(options)
    state.check_free(options)
    assert begun(options) == run
    assert run.is_dir()


def test_an_unfinished_replacement_goes_on_without_overwrite(options: TrainOptions) -> None:
    finished(options)
    begun(replace(options, overwrite=True))
    state.check_free(options)


@pytest.mark.parametrize(
    ("change", "word"),
    [({"budget": Budget(1, "h")}, "--budget"), ({"compare": True}, "--compare"), ({}, "the photographs")],
)
def test_other_settings_are_refused(options: TrainOptions, change: dict[str, Any], word: str) -> None:
    begun(options)
    other = replace(options, **change)
    with pytest.raises(UserError, match=f"with another value of {word}: run the same command"):
        state.begin(other, Settings.of(other, "f1" if change else "f2"))


def test_overwrite_starts_again(options: TrainOptions) -> None:
    run = begun(options)
    state.begin(replace(options, overwrite=True, compare=True), Settings.of(options, "f1"))
    assert not run.exists()


def test_trainings_of_a_finished_model_are_not_used_again(options: TrainOptions) -> None:
    run = begun(options)
    state.finish(options)
    state.begin(options, Settings.of(options, "f1"))
    assert not run.exists()


def test_a_damaged_file_starts_again(options: TrainOptions) -> None:
    run = begun(options)
    (options.work / state.STATE_NAME).write_bytes(bytes(10))
    state.begin(options, Settings.of(options, "f1"))
    assert not run.exists()
