"""The data module and the networks in a few lines, without a run, and the config composed outside a run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

import fpcn_lightning
from fpcn_lightning import RockDataModule, build, config, make_module
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.modules.checkpoints import load

SMALL: dict[str, Any] = {"resize": 72, "crop": 64, "batch_size": 9, "epoch_length": 2}
TINY: dict[str, Any] = {"backbone": "test_resnet", "pretrained": False}
RECIPES = sorted(path.stem for path in (config.CONF / "recipe").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (config.CONF / "experiment").glob("*.yaml"))


@pytest.fixture(autouse=True)
def outside_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests in this process set Hydra's config as a run does."""
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)


def test_a_folder_is_enough_for_a_data_module(rocks: Path) -> None:
    data = RockDataModule(root=str(rocks))
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (30, 3, 224, 224)  # of 32, as many as there are for three classes
    assert data.config.split.test == config.SplitConfig().test
    other = RockDataModule(root=rocks, seed=3, fit="letterbox", split={"test": 0.3}, crop=32)
    assert (other.config.fit, other.config.split.test, other.config.crop, other.seed) == ("letterbox", 0.3, 32, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crp": 1}, r"data\.crp is unknown; did you mean crop"),
        ({"crop": "large"}, r"'data\.crop' is str, not <class 'int'>"),
        ({"crop": 300}, r"data\.crop=300 must be in 1\.\.data\.resize=256"),
        ({"split": {"tset": 0.1}}, r"'data\.split\.tset' is unknown"),
    ],
)
def test_a_wrong_keyword_is_one_sentence(rocks: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RockDataModule(root=rocks, **options)


def test_a_config_and_its_keys_are_not_mixed(rocks: Path) -> None:
    with pytest.raises(TypeError, match="not both"):
        RockDataModule(config.DataConfig(root=str(rocks)), crop=32)


@pytest.mark.parametrize("model", ["fpcn", "plain"])
def test_a_trainer_of_ones_own_trains_a_network(
    rocks: Path, tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = RockDataModule(root=rocks, **SMALL)
    module = make_module(data, model, **TINY, optimizer="adamw", optimizer__lr=0.001)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    trainer.fit(module, datamodule=data)
    assert trainer.global_step == 4
    assert type(trainer.optimizers[0]) is torch.optim.AdamW
    assert 0 <= float(trainer.callback_metrics["val/accuracy"]) <= 1
    assert trainer.checkpoint_callback is not None
    path = Path(trainer.checkpoint_callback.best_model_path)  # type: ignore[attr-defined]
    assert load(path).record.data == data.config
    assert fpcn_lightning.load(path).classes == data.classes
    assert not HydraConfig.initialized()  # nothing is left for configs that are composed afterwards


def test_a_wrong_name_is_one_sentence(rocks: Path) -> None:
    data = RockDataModule(root=rocks, **SMALL)
    with pytest.raises(UserError, match=r"unknown key optimizer\.learning_rate"):
        make_module(data, "plain", optimizer__learning_rate=1)
    with pytest.raises(UserError, match=r"In 'config': Could not find 'model/nonsense'"):
        make_module(data, "nonsense")


def test_a_network_is_made_of_three_arguments() -> None:
    network = FPCN(classes=3, image_size=64, backbone="test_resnet", pretrained=False).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)


def test_the_names_are_listed_and_others_do_not_exist() -> None:
    assert set(fpcn_lightning.__all__) <= set(dir(fpcn_lightning))
    assert all(getattr(fpcn_lightning, name).__doc__ for name in fpcn_lightning.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = fpcn_lightning.nonsense


@pytest.mark.parametrize(
    "words",
    [[], *([f"recipe={recipe}", "data=folder", "data.root=photographs"] for recipe in RECIPES), ["task=export"]],
    ids=str,
)
def test_a_config_is_composed_outside_a_run(words: list[str]) -> None:
    assert not HydraConfig.initialized()
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        whole = compose("config", overrides=words)
    made = build.config(whole)
    assert made.model["_target_"] == "fpcn_lightning.models.fpcn.FPCN"
    assert OmegaConf.to_container(whole, resolve=True)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_is_composed_outside_a_run(experiment: str) -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        OmegaConf.resolve(compose("config", overrides=[f"+experiment={experiment}"]))


def test_hydra_finds_the_schema_without_the_command_line() -> None:
    """In a process that has imported nothing of this package."""
    program = """
from hydra import compose, initialize_config_module
with initialize_config_module("fpcn_lightning.conf", version_base="1.3"):
    print(compose("config", overrides=["model=plain", "recipe=fpcn_paper"]).variant)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "model-recipe\n"
