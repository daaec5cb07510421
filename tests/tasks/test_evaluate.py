"""`task=evaluate`: a checkpoint on its own test split, and on other folders."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.results import Result, read_result
from tests.conftest import composed
from tests.tasks.conftest import Train


def evaluate(tmp_path: Path, *overrides: str) -> Result:
    run_task(
        composed("task=evaluate", "trainer=smoke", "trainer.limit_test_batches=1.0", f"output={tmp_path}/e", *overrides)
    )
    (found,) = (tmp_path / "e").rglob("result.json")
    return read_result(found)


def test_its_own_test_split_gives_the_same_metrics_again(train: Train, tmp_path: Path) -> None:
    folder, trained = train()
    again = evaluate(tmp_path, f"checkpoint={folder}/checkpoints/best.ckpt")
    assert trained["metrics"] is not None
    assert again["metrics"] is not None
    assert again["metrics"]["test"] == trained["metrics"]["test"]
    assert again["seen_in_training"] == 0
    (page,) = (tmp_path / "e").rglob("index.html")
    assert "classifies" in page.read_text(encoding="utf-8")


def test_another_folder_is_tested_as_a_whole_and_training_images_are_counted(
    train: Train, rocks: Path, tmp_path: Path
) -> None:
    folder, _ = train()
    elsewhere = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", elsewhere)
    result = evaluate(tmp_path, f"checkpoint={folder}/checkpoints/best.ckpt", f"data.root={elsewhere}")
    assert result["data"] is not None
    assert result["data"]["images"] == {"train": 0, "val": 0, "test": 30}
    assert result["seen_in_training"] == 24


def test_error_of_an_unknown_class_names_it(train: Train, rocks: Path, tmp_path: Path) -> None:
    folder, _ = train()
    elsewhere = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", elsewhere)
    (elsewhere / "vesicular").rename(elsewhere / "pumice")
    with pytest.raises(UserError, match="pumice, which the checkpoint does not know"):
        evaluate(tmp_path, f"checkpoint={folder}/checkpoints/best.ckpt", f"data.root={elsewhere}")


def test_class_folders_in_another_spelling_are_the_classes_of_the_checkpoint(
    train: Train, rocks: Path, tmp_path: Path
) -> None:
    folder, trained = train()
    elsewhere = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", elsewhere)
    (elsewhere / "vesicular").rename(elsewhere / "Vesicular ")
    result = evaluate(tmp_path, f"checkpoint={folder}/checkpoints/best.ckpt", f"data.root={elsewhere}")
    assert result["data"] is not None
    assert trained["data"] is not None
    assert result["data"]["classes"] == trained["data"]["classes"]
    assert result["data"]["images"]["test"] == 30


def test_a_folder_with_some_of_the_classes_keeps_their_numbers(train: Train, rocks: Path, tmp_path: Path) -> None:
    folder, _ = train()
    elsewhere = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", elsewhere)
    shutil.rmtree(elsewhere / "granular")
    result = evaluate(tmp_path, f"checkpoint={folder}/checkpoints/best.ckpt", f"data.root={elsewhere}")
    assert result["metrics"] is not None
    confusion = result["metrics"]["test"]["as_trained"]["confusion"]
    assert [sum(row) for row in confusion] == [0, 10, 10]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", json.dumps({"a": 1}).encode()])
def test_a_file_that_is_not_a_checkpoint_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "strange.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"strange\.ckpt is not a checkpoint of fpcn_lightning"):
        evaluate(tmp_path, f"checkpoint={path}")


def test_without_a_checkpoint_the_error_says_what_to_pass(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="checkpoint is not set"):
        evaluate(tmp_path)
    with pytest.raises(UserError, match=r"checkpoint=.*absent\.ckpt is not a file"):
        evaluate(tmp_path, f"checkpoint={tmp_path}/absent.ckpt")


def test_a_file_name_that_is_not_utf_8_is_supported_throughout(train: Train, rocks: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", photographs)
    odd = photographs / "granular" / "gr\udcfcn.jpg"  # Latin-1, as in old archives
    (photographs / "granular" / "0000.jpg").rename(odd)
    folder, _ = train(f"data.root={photographs}")
    assert odd.name.encode(errors="surrogateescape") in (folder / "split.csv").read_bytes()
    result = evaluate(tmp_path, f"checkpoint={folder}/checkpoints/best.ckpt", f"data.root={photographs}")
    assert result["seen_in_training"] == 24


def test_names_of_an_untrusted_checkpoint_stay_inside_the_output_folder(train: Train, tmp_path: Path) -> None:
    folder, _ = train()
    path = folder / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["fpcn_lightning"]["name"] = "../../escaped"
    torch.save(content, path)
    with pytest.raises(UserError, match="names a folder"):
        evaluate(tmp_path, f"checkpoint={path}")
