"""`task=export`: a bundle for the field from a trained run, and errors."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fpcn_lightning import build
from fpcn_lightning.cli.main import run_task
from fpcn_lightning.deploy.predictions import logits_of
from fpcn_lightning.deploy.wrapper import Deployed
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.classifier import RECORD
from fpcn_lightning.runs.results import Result
from tests.conftest import composed
from tests.tasks.conftest import Train

WHOLE = ("trainer.limit_test_batches=1.0", "trainer.limit_val_batches=1.0", "data.samples_per_class=4")


def export(tmp_path: Path, folder: Path, *overrides: str) -> None:
    checkpoint = f"checkpoint={folder}/checkpoints/best.ckpt"
    run_task(composed("task=export", "trainer=smoke", f"output={tmp_path}", checkpoint, *overrides))


def changed(folder: Path, **entries: Any) -> Path:
    """A run folder whose checkpoint has other entries in its record."""
    path = folder / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content[RECORD] |= entries
    torch.save(content, path)
    return folder


def accuracy_of(result: Result, inference_mode: str) -> float:
    assert result["metrics"] is not None
    return result["metrics"]["test"][inference_mode]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [False, True])
def test_a_bundle_has_the_metrics_of_the_run(tiles: bool, train: Train, tmp_path: Path) -> None:
    options = ("data.tiles=true", "data.tile_scale=1.5", "data.max_tiles=4") if tiles else ()
    folder, result = train("model=plain", "name=rocks", *options, *WHOLE)
    export(tmp_path, folder, "export.max_drop=100", "export.micrometres_per_pixel=1.5")
    place = tmp_path / "bundles" / "rocks-plain-seed-0"
    bundle = read_bundle(place)
    assert {path.name for path in place.iterdir()} == {"bundle.json", "labels.json", "card.md", *bundle.files}
    assert bundle.activation_map
    enlarged = (
        1.5 if tiles else 72 / 64
    )  # data.tile_scale; or data.resize of trainer=smoke by the 64 pixels of the images
    assert bundle.micrometres_per_pixel == pytest.approx(1.5 / enlarged)
    assert bundle.classes == tuple(sorted(bundle.classes))
    entry = bundle.files["model.onnx"]
    assert entry["accuracy"] == pytest.approx(accuracy_of(result, "plain"))
    assert entry["agreement"] == 1
    assert sorted(entry["quantiles"]) == ["0.8", "0.9", "0.95", "0.99"]
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    loaded = checkpoints.load(folder / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        logits = Deployed(loaded.network).logits(torch.from_numpy(images))
    expected = (logits / bundle.temperature).softmax(1).numpy()
    np.testing.assert_allclose(BundleModel(bundle)(images).probabilities, expected, atol=1e-4)
    card = (place / "card.md").read_text()
    assert result["data"] is not None
    train_side = f"{result['data']['images']['train']} training pictures, all that there are"
    for words in (train_side, str(loaded.record["split"]), "fpcn predict", "Licence"):
        assert words in " ".join(card.split())
    assert str(tmp_path) not in card + (place / "bundle.json").read_text()
    with pytest.raises(UserError, match="overwrite=true"):
        export(tmp_path, folder)
    assert not [path for path in place.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_with_test_false_the_bundle_has_no_test_metrics(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = train("model=lenet", *WHOLE)
    monkeypatch.setattr("fpcn_lightning.data.datamodule.RockDataModule.test_dataloader", None)
    model = {"_target_": "fpcn_lightning.models.fpcn.FPCN", "backbone": "resnet101"}
    teacher = {"checkpoint": "/home/me/best.ckpt", "name": "ablation", "variant": "full", "seed": 3, "sha256": "abc"}
    teacher["model"] = model
    export(
        tmp_path, changed(folder, teacher=teacher), "test=false", f"export.bundle={tmp_path}/b", "export.max_drop=100"
    )
    for entry in read_bundle(tmp_path / "b").files.values():
        assert entry["accuracy"] is entry["agreement"] is None
    card = (tmp_path / "b" / "card.md").read_text()
    assert "The test side was not looked at" in card
    assert "teacher: ablation-full, FPCN on resnet101, seed 3, SHA-256 abc" in card
    assert "/home/me" not in card + (tmp_path / "b" / "bundle.json").read_text()


@pytest.mark.slow
def test_a_file_with_other_predictions_leaves_no_bundle(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = train("model=lenet", *WHOLE)
    monkeypatch.setattr("fpcn_lightning.deploy.measure.PARITY", -1.0)
    with pytest.raises(UserError, match=r"model\.onnx differs from PyTorch"):
        export(tmp_path, folder, "export.max_drop=100")
    assert not list((tmp_path / "bundles").iterdir())


def test_other_images_than_those_of_the_training_are_an_error(train: Train, rocks: Path, tmp_path: Path) -> None:
    folder, _ = train("model=plain")
    elsewhere = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", elsewhere)
    next((elsewhere / "granular").iterdir()).unlink()
    with pytest.raises(UserError, match=r"are not those that the checkpoint was trained with \(split .* data\.root="):
        export(tmp_path, folder, f"data.root={elsewhere}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("export.calibration_pictures=99", r"export\.calibration_pictures=99 must be at least 100"),
        ("export.coverage=95", r"export\.coverage=95.0 is a share"),
        ("export.max_drop=-1", r"export\.max_drop=-1.0 is a number of points"),
        ("checkpoint=null", "checkpoint is not set"),
        ("checkpoint=nowhere.ckpt", "is no file"),
    ],
)
def test_invalid_settings_of_export_are_errors_at_once(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path, tmp_path, override)


def test_names_of_an_untrusted_checkpoint_are_checked(train: Train, tmp_path: Path) -> None:
    folder, _ = train("model=plain")
    with pytest.raises(UserError, match=r"name=\.\./\.\./home names a folder"):
        export(tmp_path, changed(folder, name="../../home"))


@pytest.mark.slow
def test_files_for_phones_give_the_same_predictions(train: Train, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    folder, _ = train("model=lenet", *WHOLE)
    export(tmp_path, folder, "export.executorch=true", "export.max_drop=100", f"export.bundle={tmp_path}/b")
    files = read_bundle(tmp_path / "b").files
    assert sorted(files) == ["model.int8.onnx", "model.int8.pte", "model.onnx", "model.pte"]
    assert files["model.pte"]["accuracy"] == files["model.onnx"]["accuracy"]
    assert files["model.pte"]["agreement"] == 1
    assert files["model.int8.pte"]["bytes"] < files["model.pte"]["bytes"]


def test_without_the_extra_export_for_phones_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "executorch.exir", None)
    with pytest.raises(UserError, match=r"pip install 'fpcn-lightning\[executorch\]'"):
        export(tmp_path, tmp_path, "export.executorch=true")


def test_the_predictions_of_a_split_are_one_per_image(train: Train) -> None:
    """With tiles, rows of padding are dropped and those of one image are averaged to one prediction."""
    folder, _ = train("model=plain", "data.tiles=true", "data.tile_scale=2", "data.max_tiles=3")
    loaded = checkpoints.load(folder / "checkpoints" / "best.ckpt")
    data = build.datamodule({**loaded.record["data"], "classes": loaded.record["classes"]}, 0)
    data.prepare_data()
    deployed = Deployed(loaded.network)
    rows = logits_of(deployed, data.val_dataloader(), "validation")
    assert len(rows.logits) > len(data.split.validation)
    side = rows.side(deployed)
    assert len(side.labels) == len(data.split.validation)
    first = rows.positions == rows.positions[0]
    torch.testing.assert_close(side.probabilities[0], rows.logits[first].softmax(1).mean(0))
