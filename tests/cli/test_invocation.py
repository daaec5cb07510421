"""What is done to the words of a command line before Hydra reads them."""

from pathlib import Path

import pytest

from fpcn_lightning import build
from fpcn_lightning.cli.invocation import config_folders, home_in_words, multirun_first
from tests.conftest import composed


@pytest.fixture(params=["home", "my, [home]"])
def home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOME", f"/{request.param}")
    return f"/{request.param}"


def test_a_tilde_becomes_the_home_folder_wherever_a_path_is_given(home: str) -> None:
    words = ("data=folder", "data.root=~/my photos", "checkpoint=~/a.ckpt", "export.bundle=~", "output=~/é")
    lists = ("explain.compare_with=[~/a.ckpt,b.ckpt,~/c.ckpt]", "data.cache.directory='~/quoted'", "source='a~b'")
    settings = build.config(composed(*home_in_words([*words, *lists])))
    assert settings.data.root == f"{home}/my photos"
    assert settings.checkpoint == f"{home}/a.ckpt"
    assert settings.export.bundle == home
    assert settings.output == f"{home}/é"
    assert settings.explain.compare_with == [f"{home}/a.ckpt", "b.ckpt", f"{home}/c.ckpt"]
    assert settings.data.cache.directory == f"{home}/quoted"
    assert settings.source == "a~b"


def test_options_and_words_without_a_path_stay_as_they_are(home: str) -> None:
    words = ["-m", "~callbacks.progress", "seed=0,1", "--config-dir=~/conf", "variant=a~b"]
    assert home_in_words(words) == ["-m", "~callbacks.progress", "seed=0,1", f"--config-dir={home}/conf", "variant=a~b"]


def test_every_path_of_a_yaml_file_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cfg = composed("data=folder")
    cfg.data.root, cfg.data.split.file = "~/rocks", "~/split.csv"
    settings = build.config(cfg)
    assert (settings.data.root, settings.data.split.file) == (f"{tmp_path}/rocks", f"{tmp_path}/split.csv")
    assert cfg.data.root == "~/rocks"  # the given config is not changed


def test_overrides_may_stand_on_both_sides_of_the_flag_of_a_sweep() -> None:
    assert multirun_first(["model=plain", "-m", "seed=0,1"]) == ["-m", "model=plain", "seed=0,1"]
    assert multirun_first(["model=plain", "seed=0"]) == ["model=plain", "seed=0"]


def test_the_folders_of_config_dir_are_found_in_every_form() -> None:
    here = Path.cwd()
    assert config_folders(["--config-dir", "a", "seed=0"]) == [here / "a"]
    assert config_folders(["--config-dir=/b", "-cd", "c"]) == [here / "c", Path("/b")]
    assert config_folders(["-m", "seed=0,1", "data.root=--config-dir"]) == []
