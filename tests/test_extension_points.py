"""The README's table 'To add', tested from outside the package: each extension needs the files that it lists."""

import sys
from pathlib import Path

import pytest
import torch

from fpcn_lightning.runs.results import read_result
from tests.conftest import classifier_of, config_of
from tests.tasks.conftest import Train, train

__all__ = ["train"]

LOSS = """
from fpcn_lightning.losses.term import LossTerm


class Entropy(LossTerm):
    needs_labels = False

    def __init__(self, weight, scale=1.0):
        super().__init__(weight)
        self.scale = scale

    def forward(self, views, labels):
        probabilities = views.own_logits.float().softmax(1)
        return -self.scale * (probabilities * probabilities.log()).sum(1).mean()
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside the package from which Python imports."""
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_loss_is_one_file(outside: Path, train: Train) -> None:
    (outside / "entropy_loss.py").write_text(LOSS)
    term = "+loss.entropy={_target_:entropy_loss.Entropy,weight:0.1,scale:2.0}"
    folder, result = train("model=plain", term, "trainer.max_epochs=1")
    assert result["status"] == "finished"
    assert "train/loss_entropy" in (folder / "metrics.csv").read_text().splitlines()[0]
    assert read_result(folder / "result.json")["config"]["loss"]["entropy"]["scale"] == 2.0  # type: ignore[index]
    assert [path.name for path in outside.glob("*.py")] == ["entropy_loss.py"]
    del sys.modules["entropy_loss"]


def test_an_optimiser_and_a_schedule_need_no_file() -> None:
    optimizer = ("optimizer=other", "optimizer._target_=torch.optim.Adagrad", "+optimizer.lr_decay=0.01")
    schedule = (
        "lr_scheduler=other",
        "lr_scheduler.interval=step",
        "lr_scheduler.scheduler._target_=torch.optim.lr_scheduler.OneCycleLR",
        "+lr_scheduler.scheduler.max_lr=0.1",
        "+lr_scheduler.scheduler.total_steps=length",
    )
    module = classifier_of(config_of("model=plain", "backbone=test_resnet", "pretrained=false", *optimizer))
    assert isinstance(module.optimisation.make_optimizer(module.network), torch.optim.Adagrad)
    module = classifier_of(config_of("model=plain", "backbone=test_resnet", "pretrained=false", *schedule))
    made = module.optimisation.make_scheduler(module.optimisation.make_optimizer(module.network), steps=40, epochs=4)
    assert made is not None
    assert isinstance(made["scheduler"], torch.optim.lr_scheduler.OneCycleLR)
    assert made["scheduler"].total_steps == 40
