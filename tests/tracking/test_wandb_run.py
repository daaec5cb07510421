"""The mode and the id of a W&B run, and errors of W&B as warnings."""

import logging
import sys
from pathlib import Path

import pytest
import wandb

from fpcn_lightning.errors import UserError
from fpcn_lightning.tracking.loggers import RunLogger
from fpcn_lightning.tracking.wandb_run import errors_as_warnings, wandb_mode, wandb_run_id


def test_without_an_api_key_the_mode_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wandb_mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert wandb_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert wandb_mode() == "offline"


def test_an_invalid_api_key_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(UserError, match="W&B rejected the API key"):
        wandb_mode()


def test_error_of_a_missing_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'fpcn-lightning\[wandb\]'"):
        wandb_mode()


def test_the_id_is_stored_and_belongs_to_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = wandb_run_id(tmp_path / "a" / "id.txt")
    assert first
    assert wandb_run_id(tmp_path / "a" / "id.txt") == first
    assert wandb_run_id(tmp_path / "b" / "id.txt") != first
    assert wandb_run_id(tmp_path / "c" / "id.txt", "given") == "given"
    assert wandb_run_id(tmp_path / "a" / "id.txt", "given") == first
    monkeypatch.setenv("RANK", "1")
    assert wandb_run_id(tmp_path / "d" / "id.txt") is None
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("trouble", [wandb.Error("no space"), ConnectionError("no network"), UserError("no key")])
def test_an_error_of_w_and_b_is_a_warning(trouble: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise trouble

    with caplog.at_level(logging.WARNING), errors_as_warnings("the table"):
        fail()
    assert f"the table could not be logged to W&B: {trouble}" in caplog.text


def test_an_error_of_the_package_is_raised() -> None:
    with pytest.raises(KeyError), errors_as_warnings("the table"):
        raise KeyError("inference_modes")


def test_error_of_a_run_that_w_and_b_rejects_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise wandb.errors.CommError("no such host")

    monkeypatch.setattr(wandb, "init", refuse)
    logger = RunLogger(str(tmp_path), pictures=0)
    with pytest.raises(UserError, match=r"no such host.*WANDB_MODE=offline"):
        logger.log_hyperparams({"seed": 0})


@pytest.mark.parametrize("pictures", [-1, 0.5, "many"])
def test_an_invalid_number_of_pictures_is_an_error(tmp_path: Path, pictures: int) -> None:
    with pytest.raises(UserError, match=r"logger\.wandb\.pictures="):
        RunLogger(str(tmp_path), pictures=pictures)
