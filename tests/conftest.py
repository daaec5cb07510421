"""What all tests share: composed configs, and a set of pictures small enough to train on in seconds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from fpcn_lightning import config
from fpcn_lightning.cli.main import register
from fpcn_lightning.data.synthetic.dataset import make_synthetic


@pytest.fixture(scope="session")
def rocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CSV of 30 synthetic rocks of three classes, 64 px."""
    return make_synthetic(tmp_path_factory.mktemp("rocks") / "set", images_per_class=10, size=64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test reads or leaves anything in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    GlobalHydra.instance().clear()


def composed(*overrides: str, folder: Path = Path("run-folder")) -> DictConfig:
    """The config that the command line would compose for a run in `folder`, which Hydra then knows, too."""
    register()
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        whole = compose("config", overrides=list(overrides), return_hydra_config=True)
    with open_dict(whole):
        whole.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(whole)
        del whole["hydra"]
    return whole
