"""`task=export`: from a trained run to a bundle that `fpcn` reads, and its errors."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fpcn_lightning import build
from fpcn_lightning.cli.main import run_task
from fpcn_lightning.deploy.predictions import view_logits
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.checkpoints import RECORD
from fpcn_lightning.runs.results import Result
from tests.conftest import composed, config_of
from tests.tasks.conftest import Train

WHOLE = ("trainer.limit_test_batches=1.0", "trainer.limit_val_batches=1.0", "data.samples_per_class=4")


@pytest.fixture(scope="module")
def lenet_run(rocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a LeNet, only to be read."""
    folder = tmp_path_factory.mktemp("lenet")
    overrides = ("trainer=smoke", "data=folder", f"data.root={rocks}", "callbacks.summary=null", "model=lenet", *WHOLE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        run_task(composed(*overrides, f"output={folder}", folder=folder))
    return folder


def export(tmp_path: Path, folder: Path, *overrides: str) -> None:
    checkpoint = f"checkpoint={folder}/checkpoints/best.ckpt"
    run_task(composed("task=export", "trainer=smoke", f"output={tmp_path}", checkpoint, *overrides))


def changed(folder: Path, copy: Path, **entries: Any) -> Path:
    """A copy of a run's checkpoint with other entries in its record, in a run folder."""
    path = copy / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    content = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    content[RECORD] |= entries
    torch.save(content, path)
    return copy


def accuracy_of(result: Result, inference_mode: str) -> float:
    assert result["metrics"] is not None
    return result["metrics"]["test"][inference_mode]["accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [False, True])
def test_a_bundle_has_the_accuracy_of_its_run(tiles: bool, train: Train, tmp_path: Path) -> None:
    options = ("data.tiles=true", "data.tile_scale=1.5", "data.max_tiles=4") if tiles else ()
    folder, result = train("model=plain", "name=rocks", *options, *WHOLE)
    export(tmp_path, folder, "export.max_drop=100", "export.micrometres_per_pixel=1.5")
    place = tmp_path / "bundles" / "rocks-plain-seed-0"
    bundle = read_bundle(place)
    assert {path.name for path in place.iterdir()} == {"bundle.json", "labels.json", "card.md", *bundle.files}
    assert bundle.activation_map
    enlarged = 1.5 if tiles else 72 / 64  # data.tile_scale; or the resize of trainer=smoke for pictures of 64 pixels
    assert bundle.micrometres_per_pixel == pytest.approx(1.5 / enlarged)
    assert bundle.classes == tuple(sorted(bundle.classes))
    entry = bundle.files["model.onnx"]
    assert entry["accuracy"] == pytest.approx(accuracy_of(result, "plain"))
    assert entry["agreement"] == 1
    assert sorted(entry["quantiles"]) == ["0.8", "0.9", "0.95", "0.99"]
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    loaded = checkpoints.load(folder / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        deployed = DeployedNetwork(loaded.network, 64)
        logits = deployed.logits(torch.from_numpy(images))
        maps = deployed(torch.from_numpy(images))[2].numpy()
    expected = (logits / bundle.temperature).softmax(1).numpy()
    found = BundleModel(bundle)(images)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-4)
    assert found.activation_map is not None
    np.testing.assert_allclose(found.activation_map, maps, atol=1e-4 * np.abs(maps).max())
    card = (place / "card.md").read_text()
    assert result["data"] is not None
    assert bundle.photographs is not None
    counts = [bundle.photographs["train"], bundle.photographs["val"], bundle.photographs["test"]]
    in_split = result["data"]["images"]
    assert [sum(numbers) for numbers in counts] == [in_split["train"], in_split["val"], in_split["test"]]
    first = [numbers[0] for numbers in counts]
    assert f"| {bundle.classes[0]} | {' | '.join(map(str, first))} |" in card
    train_split = f"{result['data']['images']['train']} training pictures, all that there are"
    for words in (train_split, loaded.record.split, "fpcn predict", "Licence"):
        assert words in " ".join(card.split())
    assert str(tmp_path) not in card + (place / "bundle.json").read_text()
    with pytest.raises(UserError, match="overwrite=true"):
        export(tmp_path, folder)
    assert not [path for path in place.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_test_pictures_are_not_evaluated_unless_allowed(
    lenet_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpcn_lightning.data.datamodule.RockDataModule.test_dataloader", None)
    model = {"_target_": "fpcn_lightning.models.fpcn.FPCN", "backbone": "resnet101"}
    teacher = {"checkpoint": "/home/me/best.ckpt", "name": "ablation", "variant": "full", "seed": 3, "sha256": "abc"}
    teacher["model"] = model
    folder = changed(lenet_run, tmp_path / "run", teacher=teacher)
    export(tmp_path, folder, "test=false", f"export.bundle={tmp_path}/b", "export.max_drop=100")
    for entry in read_bundle(tmp_path / "b").files.values():
        assert entry["accuracy"] is entry["agreement"] is None
    card = (tmp_path / "b" / "card.md").read_text()
    assert "The test pictures were not evaluated" in card
    assert "teacher: ablation-full, FPCN on resnet101, seed 3, SHA-256 abc" in card
    assert "/home/me" not in card + (tmp_path / "b" / "bundle.json").read_text()


@pytest.mark.slow
def test_a_file_with_other_predictions_leaves_no_bundle(
    lenet_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fpcn_lightning.deploy.measure.PARITY", -1.0)
    with pytest.raises(UserError, match=r"model\.onnx differs from PyTorch"):
        export(tmp_path, lenet_run, "export.max_drop=100")
    assert not list((tmp_path / "bundles").iterdir())


def test_other_pictures_than_those_of_the_training_are_refused(lenet_run: Path, rocks: Path, tmp_path: Path) -> None:
    other = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", other)
    next((other / "granular").iterdir()).unlink()
    with pytest.raises(UserError, match=r"are not those that the checkpoint was trained with \(split .* data\.root="):
        export(tmp_path, lenet_run, f"data.root={other}")


def with_any_checkpoint(folder: Path) -> Path:
    """A run folder whose checkpoint exists, which is checked first."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "best.ckpt").touch()
    return folder


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("export.calibration_pictures=99", r"export\.calibration_pictures=99 must be at least 100"),
        ("export.coverage=95", r"export\.coverage=95.0 is a share"),
        ("export.max_drop=-1", r"export\.max_drop=-1.0 is a number of points"),
        ("checkpoint=null", "checkpoint is not set"),
        ("checkpoint=nowhere.ckpt", "is not a file"),
    ],
)
def test_invalid_values_are_named(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        export(tmp_path, with_any_checkpoint(tmp_path), override)


def test_the_name_in_a_checkpoint_is_no_folder(lenet_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"name=\.\./\.\./home names a folder"):
        export(tmp_path, changed(lenet_run, tmp_path / "run", name="../../home"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning")  # of executorch itself
def test_files_for_phones_have_the_same_predictions(lenet_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("executorch")
    export(tmp_path, lenet_run, "export.executorch=true", "export.max_drop=100", f"export.bundle={tmp_path}/b")
    files = read_bundle(tmp_path / "b").files
    assert sorted(files) == ["model.int8.onnx", "model.int8.pte", "model.onnx", "model.pte"]
    assert files["model.pte"]["accuracy"] == files["model.onnx"]["accuracy"]
    assert files["model.pte"]["agreement"] == 1
    assert files["model.int8.pte"]["bytes"] < files["model.pte"]["bytes"]


def test_missing_packages_for_phones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "executorch", None)
    with pytest.raises(UserError, match=r"pip install 'fpcn-lightning\[executorch\]'"):
        export(tmp_path, with_any_checkpoint(tmp_path), "export.executorch=true")


def test_tiles_are_combined_to_predictions_for_whole_pictures(rocks: Path) -> None:
    """Rows of padding are skipped."""
    overrides = ("data.tiles=true", "data.tile_scale=2", "data.max_tiles=3")
    config = config_of("trainer=smoke", "data=folder", "model=plain", f"data.root={rocks}", *overrides)
    data = build.datamodule(config.data, 0)
    data.prepare_data()
    deployed = DeployedNetwork(Plain(len(data.classes), 64, "test_resnet", pretrained=False), 64)
    views = view_logits(deployed, data.val_dataloader(), "val")
    assert len(views.logits) > len(data.split.val)
    predictions = views.predictions(deployed)
    assert len(predictions.labels) == len(data.split.val)
    first = views.positions == views.positions[0]
    torch.testing.assert_close(predictions.probabilities[0], views.logits[first].softmax(1).mean(0))


def test_an_untrained_network_is_exported_as_not_usable(
    lenet_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    export(tmp_path, lenet_run, f"export.bundle={tmp_path / 'out'}", "export.max_drop=100")
    reasons = read_bundle(tmp_path / "out").usability.reasons
    assert reasons[0].split()[0] == "accuracy"
    assert any("validation pictures are too few" in reason for reason in reasons)
    assert "the model is not usable: accuracy" in caplog.text
    card = (tmp_path / "out" / "card.md").read_text(encoding="utf-8")
    assert "**This model is not usable:**" in card
    assert "not above the" in card
