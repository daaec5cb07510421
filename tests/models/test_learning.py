"""Networks trained on pairs can overfit a few images, and exceed chance on the synthetic rocks."""

import csv
import math
from pathlib import Path

import pytest
import torch

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import classifier_of, composed, config_of


def classifier(name: str, backbone: str = "test_resnet") -> Classifier:
    words = (f"model={name}", "trainer=smoke", f"backbone={backbone}", "training.channels_last=false")
    return classifier_of(config_of(*words))


def batch() -> Batch:
    """Twelve images of noise, each with its own colour: no two are alike, and classes are arbitrary."""
    generator = torch.Generator().manual_seed(1)
    colours = torch.rand(12, 3, 1, 1, generator=generator)
    noise = torch.rand(12, 3, 64, 64, generator=generator)
    images = (255 * (0.5 * colours + 0.5 * noise)).to(torch.uint8)
    return Batch(images, torch.arange(3).repeat_interleave(4), torch.arange(12))


def trained(module: Classifier, given: Batch, rate: float, *, steps: int) -> list[float]:
    """The loss of each step on one batch."""
    optimiser = torch.optim.SGD(module.parameters(), lr=rate, momentum=0.9)
    losses = []
    for step in range(steps):
        module.on_train_batch_start(given, step)
        loss = module.training_step(given, step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*self.log.*")
@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("api_net", 0.02),
        pytest.param("pca_net", 0.0005, marks=pytest.mark.exhaustive),
        pytest.param("cin", 0.02, marks=pytest.mark.exhaustive),
    ],
)
def test_overfits_twelve_images(name: str, rate: float) -> None:
    module, given = classifier(name), batch()
    losses = trained(module, given, rate, steps=120)
    assert min(losses[-10:]) < 0.5 * losses[0]
    module.eval()
    with torch.no_grad():
        assert module(given.images).argmax(1).tolist() == given.labels.tolist()


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore:.*self.log.*")
def test_pca_net_learns_on_bottleneck_blocks_too() -> None:
    """The blocks of the paper; a few steps only, as each takes a second."""
    module, given = classifier("pca_net", "resnet26"), batch()
    losses = trained(module, given, 0.0005, steps=20)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.slow
def test_pca_net_learns_unlike_its_published_code(rocks: Path, tmp_path: Path) -> None:
    """There the loss stays at the logarithm of the number of classes."""
    words = ["trainer=smoke", "model=pca_net", "data=folder", f"data.root={rocks}", "callbacks.summary=null"]
    words += ["trainer.max_epochs=12", "trainer.limit_train_batches=1.0"]
    run_task(composed(*words, f"output={tmp_path}", folder=tmp_path))
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as lines:
        epochs = [row for row in csv.DictReader(lines) if row["train/accuracy"]]
    losses = [float(row["train/loss_classification"]) for row in epochs]
    accuracies = [float(row["train/accuracy"]) for row in epochs]
    assert sum(losses[-3:]) / 3 < 0.8 * math.log(3) < losses[0]
    assert sum(accuracies[-3:]) / 3 > 0.6  # chance is a third
