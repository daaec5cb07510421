"""Fixtures of all tests: composed configs, and a set of images small enough to train on in seconds."""

import copy
import signal
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from fpcn_lightning import build, config
from fpcn_lightning.data.synthetic.dataset import make_synthetic

if TYPE_CHECKING:
    from fpcn_lightning.modules.classifier import Classifier

# A shell starts programs in the background with Ctrl-C ignored, which the programs that they start inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def rocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV of 30 synthetic rocks of three classes, 64 px."""
    return make_synthetic(tmp_path_factory.mktemp("rocks") / "set", images_per_class=10, size=64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    GlobalHydra.instance().clear()


def composed(*overrides: str, folder: Path = Path("run-folder")) -> DictConfig:
    """The config that the command line would compose for a run in `folder`; also set as Hydra's current one."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        whole = compose("config", overrides=list(overrides), return_hydra_config=True)
    with open_dict(whole):
        whole.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(whole)
        del whole["hydra"]
    return whole


@cache
def _config(*overrides: str) -> config.Config:
    return build.config(composed(*overrides))


def config_of(*overrides: str) -> config.Config:
    """The config of these overrides as objects, a new copy for each call."""
    return copy.deepcopy(_config(*overrides))


CLASSES = ("basalt", "dolomite", "marble")


def classifier_of(
    settings: config.Config, size: int = 64, classes: Sequence[str] = CLASSES, seed: int = 0
) -> "Classifier":
    """The Lightning module that a config describes, for images of `size` pixels, its weights drawn with `seed`."""
    import torch

    from fpcn_lightning.modules.assembly import make_optimisation
    from fpcn_lightning.modules.checkpoints import make_record
    from fpcn_lightning.modules.classifier import Classifier

    torch.manual_seed(seed)
    network = build.network(settings.model, len(classes), size)
    return Classifier(
        network,
        terms=build.loss_terms(settings.loss, [10] * len(classes), network.feature_dim),
        optimisation=make_optimisation(settings),
        seed=0,
        image_size=size,
        record=make_record(settings, tuple(classes), "fingerprint"),
        channels_last=settings.training.channels_last,
    )
