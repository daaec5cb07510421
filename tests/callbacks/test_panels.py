"""Panels that whole runs draw."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from fpcn_lightning.callbacks import panels
from fpcn_lightning.callbacks.panels import Panels
from fpcn_lightning.errors import UserError
from fpcn_lightning.explain.drawing import save
from fpcn_lightning.explain.panels import Panel, PanelInput, panels_of
from tests.tasks.conftest import Train
from tests.tracking.conftest import power_failure_in_the_second_epoch
from tests.wandb_record import offline_runs

EVERY_EPOCH = ("callbacks=panels", "callbacks.panels.every=1", "callbacks.panels.pictures=2")


def drawn(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "panels").iterdir())


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return content


def same(one: object, other: object) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.slow
def test_training_is_not_changed_by_any_method(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm, dropout, momentum and random numbers, also if a method changes the state of all of them."""
    alone, _ = train("model=fpcn", folder="alone")
    states: list[Tensor] = []

    def careless(inputs: dict[str, PanelInput], *arguments: Any) -> list[list[Panel]]:
        states.append(torch.get_rng_state())
        rows = panels_of(inputs, *arguments)
        torch.rand(7)
        for network, pictures in inputs.values():
            network.train()
            network(pictures.float()).sum().backward()
            network.requires_grad_(False)
        return rows

    def saved(figure: Figure, path: Path) -> Path:
        states.append(torch.get_rng_state())
        return save(figure, path)

    monkeypatch.setattr(panels, "panels_of", careless)
    monkeypatch.setattr(panels, "save", saved)
    watched, _ = train("model=fpcn", *EVERY_EPOCH, folder="watched")
    assert drawn(watched) == ["epoch-0001.png", "epoch-0002.png"]
    before_first, after_first, before_second, after_second = states
    assert torch.equal(before_first, after_first)
    assert torch.equal(before_second, after_second)
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same(checkpoint(alone)[key], checkpoint(watched)[key])
    with Image.open(watched / "panels" / "epoch-0002.png") as opened:
        assert opened.size[0] > 900, "four panels of 256 pixels"


@pytest.mark.slow
def test_the_last_epoch_is_always_drawn_and_logged_to_w_and_b(train: Train) -> None:
    folder, _ = train("model=plain", "callbacks=panels", "logger=wandb", "logger.wandb.pictures=3")
    assert drawn(folder) == ["epoch-0002.png"]
    (recorded,) = offline_runs(folder)
    assert recorded.summary["val/panels.captions"] == ["after epoch 2"]
    (name,) = recorded.summary["val/panels.filenames"]
    with (
        Image.open(recorded.folder / "files" / name) as logged,
        Image.open(folder / "panels" / drawn(folder)[0]) as own,
    ):
        assert logged.width == own.width
        assert logged.height < 0.7 * own.height, "three of six pictures may be logged"


@pytest.mark.slow
def test_no_picture_is_logged_unless_wanted(train: Train) -> None:
    folder, _ = train("model=majority", *EVERY_EPOCH, "logger=wandb", "logger.wandb.pictures=0")
    assert drawn(folder) == ["epoch-0001.png", "epoch-0002.png"], "a network without a map has a figure of predictions"
    (recorded,) = offline_runs(folder)
    assert not any(key.startswith("val/panels") for key in recorded.keys)
    assert not [path for path in recorded.folder.rglob("*") if path.suffix in (".png", ".jpg")]


@pytest.mark.slow
def test_an_interrupted_run_continues_its_panels(train: Train, tmp_path: Path) -> None:
    with power_failure_in_the_second_epoch():
        train("model=plain", *EVERY_EPOCH, folder="run")
    (tmp_path / "run" / "panels" / "epoch-0007.png").touch()  # of a longer run that this one replaces
    folder, _ = train("model=plain", *EVERY_EPOCH, folder="run")
    assert drawn(folder) == ["epoch-0001.png", "epoch-0002.png"]


@pytest.mark.slow
def test_only_one_of_two_ranks_draws(rocks: Path, tmp_path: Path) -> None:
    words = ["trainer=smoke", "trainer.devices=2", "trainer.strategy=ddp_find_unused_parameters_true", *EVERY_EPOCH]
    words += ["data=folder", f"data.root={rocks}", "callbacks.summary=null", f"output={tmp_path}/outputs"]
    done = subprocess.run(
        [sys.executable, "-m", "fpcn_lightning", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    (last,) = (tmp_path / "outputs").rglob("epoch-0002.png")
    assert drawn(last.parents[1]) == ["epoch-0001.png", "epoch-0002.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "gradcam"}, "grad_cam"),
        ({"every": 0}, r"callbacks\.panels\.every=0"),
        ({"pictures": "many"}, r"callbacks\.panels\.pictures=many"),
    ],
)
def test_invalid_options_are_refused_before_training(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Panels("panels", **options)


def test_a_missing_package_is_named_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fpcn_lightning.installation.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"fpcn-lightning\[explain\]"):
        Panels("panels")
