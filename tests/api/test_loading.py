"""`fpcn_lightning.load`: the same predictions as `fpcn predict`, without PyTorch where that is not needed."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import fpcn_lightning
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.deploy.checkpoint_model import NOT_CALIBRATED
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.command import main
from fpcn_lightning.field.results import csv_line
from fpcn_lightning.modules.checkpoints import PREFIX, RECORD
from tests.conftest import classifier_of, config_of
from tests.field.conftest import paint, write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two folders with pictures, one of which is unknown, and files that cannot be read."""
    folder = tmp_path / "photographs"
    for name, colour in {"1": "red", "a/2": "blue", "a/3": "green", "=4": (128, 128, 128)}.items():
        paint(folder / f"{name}.png", colour)  # type: ignore[arg-type]
    (folder / "broken.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    return folder


def as_csv(frame: pandas.DataFrame) -> list[list[str]]:
    """The cells of a frame as `fpcn predict` writes them."""
    rows = [[None if cell is None or cell != cell else cell for cell in row] for row in frame.to_numpy(object)]
    text = "".join(csv_line(row) for row in [list(frame.columns), *rows])
    return list(csv.reader(text.splitlines()))


@pytest.mark.parametrize("sets", [False, True])
def test_the_frame_has_what_the_command_writes(bundle: Path, photographs: Path, tmp_path: Path, sets: bool) -> None:
    output = tmp_path / "predictions.csv"
    words = ["predict", str(bundle), str(photographs), "--output", str(output)]
    assert main([*words, *(["--sets", "0.9"] if sets else [])]) == 0
    frame = fpcn_lightning.load(str(bundle)).predict(photographs, coverage=0.9 if sets else None)
    with output.open(encoding="utf-8-sig", newline="") as file:
        assert as_csv(frame) == list(csv.reader(file))
    assert len(frame) == 6
    assert frame["error"].notna().sum() == 2
    assert frame["unknown"].tolist().count(True) == 1
    assert frame["probability_1"].dtype == np.float64


def test_the_columns_of_a_list_and_a_verdict_are_kept(tmp_path: Path) -> None:
    paint(tmp_path / "red.png")
    (tmp_path / "list.csv").write_text("path,site\nred.png,north\ngone.png,south\n")
    model = fpcn_lightning.load(write_bundle(tmp_path / "bundle", not_usable=["too few", "too old"]))
    frame = model.predict(tmp_path / "list.csv", top=1)
    assert frame.columns.tolist() == [
        "path",
        "class_1",
        "probability_1",
        "unknown",
        "score",
        "error",
        "not_usable",
        "site",
    ]
    assert frame["site"].tolist() == ["north", "south"]
    assert frame["not_usable"].tolist() == ["too few; too old"] * 2
    assert frame["error"].tolist()[1] == "there is no such file"
    assert not model.usability.usable


def test_paths_are_classified_in_their_order_and_once(bundle: Path, photographs: Path) -> None:
    paths: list[str | Path] = [
        photographs / "a" / "3.png",
        str(photographs / "gone.png"),
        photographs / "1.png",
        photographs / "1.png",
    ]
    model = fpcn_lightning.load(bundle)
    frame = model.predict(paths)
    assert frame["path"].tolist() == [str(path) for path in paths[:3]]
    assert frame["class_1"].tolist()[::2] == ["green", "red"]
    assert frame["error"].tolist()[1] == "there is no such file"
    assert model.predict(iter(paths)).equals(frame)
    assert (model.classes, model.name) == (("red", "green", "blue"), "colours")
    with pytest.raises(UserError, match="no photograph to classify"):
        model.predict([])


@pytest.mark.parametrize("option", ["top", "batch_size"])
def test_a_number_below_one_is_one_sentence(bundle: Path, photographs: Path, option: str) -> None:
    with pytest.raises(UserError, match=f"{option}=0 must be at least 1"):
        fpcn_lightning.load(bundle).predict(photographs, **{option: 0})  # type: ignore[arg-type]  # one of two integers


def test_a_bundle_needs_no_package_of_the_training_and_pandas_only_for_a_frame(bundle: Path, photographs: Path) -> None:
    program = f"""
import sys
for name in ("torch", "lightning", "hydra", "omegaconf", "timm", "pandas"):
    sys.modules[name] = None
import fpcn_lightning
model = fpcn_lightning.load({str(bundle)!r})
print(model.classes)
try:
    model.predict({str(photographs)!r})
except fpcn_lightning.errors.UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "('red', 'green', 'blue')",
        "predict returns a pandas.DataFrame and needs pandas, which is not installed: "
        "pip install 'fpcn-lightning[pandas]'.",
    ]


@pytest.fixture
def checkpoint(tmp_path: Path, rocks: Path) -> Path:
    """An untrained network, saved as a training does."""
    words = ("model=plain", "backbone=test_resnet", "pretrained=false", "data=folder", f"data.root={rocks}")
    settings = config_of(*words, "data.resize=72", "data.crop=64", "data.fit=crop")
    module = classifier_of(settings, classes=("granular", "veined", "vesicular"))
    weights = {f"{PREFIX}{name}": value for name, value in module.network.state_dict().items()}
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": weights, RECORD: module.record.plain()}, path)
    return path


def probabilities(checkpoint: Path, rocks: Path) -> Iterator[tuple[str, np.ndarray[tuple[int], np.dtype[np.float32]]]]:
    """By the Lightning module and the data module, as a test of a training computes them."""
    from fpcn_lightning.modules.checkpoints import load
    from fpcn_lightning.modules.classifier import Classifier

    network, record = load(checkpoint)
    data = RockDataModule(record.data, only_test=True)
    data.setup()
    module = Classifier(network, seed=0, image_size=64, record=record).eval()
    with torch.inference_mode():
        for batch in data.test_dataloader():
            for row, position in zip(module(batch.images).softmax(1), batch.positions.tolist(), strict=True):
                if position != PADDING:
                    yield str(data.index.pictures[position].path), row.numpy()


def test_a_checkpoint_predicts_what_its_training_would_test(checkpoint: Path, rocks: Path) -> None:
    model = fpcn_lightning.load(checkpoint)
    assert model.usability.reasons == (NOT_CALIBRATED,)
    assert model.classes == ("granular", "veined", "vesicular")
    expected = dict(probabilities(checkpoint, rocks))
    frame = model.predict(list(expected))
    assert len(frame) == 30
    for _, row in frame.iterrows():
        found = {row[f"class_{rank}"]: row[f"probability_{rank}"] for rank in (1, 2, 3)}
        np.testing.assert_allclose([found[name] for name in model.classes], expected[row["path"]], atol=2e-5)
    assert not frame["unknown"].any()
    assert set(frame["not_usable"]) == {NOT_CALIBRATED}


def test_a_wrong_place_is_one_sentence(tmp_path: Path, checkpoint: Path) -> None:
    run = checkpoint.parents[1]
    with pytest.raises(UserError, match=r"nowhere does not exist: pass the folder of a bundle"):
        fpcn_lightning.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has neither bundle\.json, as a bundle has, nor result\.json"):
        fpcn_lightning.load(run)
    with pytest.raises(UserError, match=r"only a bundle has several model files"):
        fpcn_lightning.load(checkpoint, file="model.int8.onnx")
    Image.new("RGB", (8, 8)).save(tmp_path / "rock.png")
    with pytest.raises(UserError, match="is not a checkpoint of fpcn_lightning"):
        fpcn_lightning.load(tmp_path / "rock.png")


def test_what_a_training_needs_is_named(checkpoint: Path) -> None:
    program = f"""
import sys
for name in ("torch", "lightning"):
    sys.modules[name] = None
import fpcn_lightning
try:
    fpcn_lightning.load({str(checkpoint)!r})
except fpcn_lightning.errors.UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    needed = "which needs torch, lightning, which are not installed: pip install 'fpcn-lightning[train]', or load the"
    assert needed in done.stdout


def test_the_installed_demonstration_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fpcn_lightning.load("demo").classes == read_bundle(Path("demo")).classes
