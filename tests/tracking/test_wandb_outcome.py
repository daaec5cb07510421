"""What complete runs log to W&B."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tasks.conftest import Train
from tests.tracking.conftest import power_failure_in_the_second_epoch
from tests.wandb_record import Recorded, offline_runs


def picture_files(recorded: Recorded) -> list[str]:
    """Names of the logged images, which contain a hash of their bytes."""
    return [Path(name).name for name in recorded.summary["val/pictures.filenames"]]


def test_a_run_logs_its_record_to_w_and_b(train: Train) -> None:
    folder, result = train("model=fpcn_gated", "logger=wandb", "name=study")
    (recorded,) = offline_runs(folder)
    assert result["metrics"] is not None
    assert result["network"] is not None
    assert recorded.exit_code == 0
    assert recorded.run["run_group"] == "study"
    assert recorded.run["display_name"] == "fpcn_gated/seed-0"
    assert recorded.run["job_type"] == "train"
    assert recorded.run["project"] == "fpcn_lightning"
    assert recorded.run["run_id"] == (folder / "wandb_run.txt").read_text().strip()
    assert recorded.config["model"] == result["config"]["model"]
    assert recorded.config["seed"] == 0
    assert [row["epoch"] for row in recorded.history if "val/accuracy" in row] == [1, 2]

    test, validation = result["metrics"]["test"], result["metrics"]["val"]
    assert recorded.summary["test/accuracy"] == pytest.approx(test["as_trained"]["accuracy"])
    assert recorded.summary["val/best_accuracy"] == validation["as_trained"]["accuracy"]
    assert recorded.summary["network/parameters"] == result["network"]["parameters"]
    assert recorded.summary["network/macs"] == result["network"]["macs"]
    assert (recorded.summary["data/images_test"], recorded.summary["data/refused"]) == (6, 0)
    for row in recorded.table("inference_modes"):
        measured = {"val": validation, "test": test}[row["split"]][row["inference_mode"]]
        assert all(row[name] == dict(measured)[name] for name in ("accuracy", "macro_f1", "images"))
    assert len(recorded.table("inference_modes")) == 8  # four modes in two splits
    counts = [row["nPredictions"] for row in recorded.table("test/confusion_matrix_table")]
    assert np.array_equal(np.reshape(counts, (3, 3)), test["as_trained"]["confusion"])
    assert [(row["train"], row["val"], row["test"]) for row in recorded.table("data/classes")] == [(6, 2, 2)] * 3


@pytest.mark.slow
def test_logged_images_have_the_located_mask(train: Train) -> None:
    folder, _ = train("model=fpcn", "logger=wandb", "model.theta=0.5")
    (recorded,) = offline_runs(folder)
    captions, masks = recorded.summary["val/pictures.captions"], recorded.summary["val/pictures.all_masks"]
    assert len(captions) == len(masks) == len(set(picture_files(recorded))) == 6
    for caption, mask in zip(captions, masks, strict=True):
        found = np.asarray(Image.open(recorded.folder / "files" / mask["positioning"]["path"]))
        assert found.shape == (64, 64)
        # Pixels outside the mask are background, although theta keeps half of their features.
        assert caption.endswith(f"; object {found.mean():.0%}")
        assert 0 < found.mean() < 1


@pytest.mark.slow
def test_the_logged_images_do_not_depend_on_seed_and_network(train: Train) -> None:
    one, _ = train("model=fpcn", "logger=wandb", "logger.wandb.pictures=2", folder="one")
    other, _ = train("model=plain", "logger=wandb", "logger.wandb.pictures=2", "seed=1", folder="other")
    (first,), (second,) = offline_runs(one), offline_runs(other)
    assert picture_files(first) == picture_files(second)
    assert len(set(picture_files(first))) == 2
    assert "val/pictures.all_masks" not in second.summary
    assert first.run["run_id"] != second.run["run_id"]


@pytest.mark.slow
def test_no_image_is_logged_with_pictures_0(train: Train) -> None:
    folder, _ = train("model=fpcn", "logger=wandb", "logger.wandb.pictures=0")
    (recorded,) = offline_runs(folder)
    assert "inference_modes" in recorded.keys
    assert not [path for path in recorded.folder.rglob("*") if path.suffix in (".png", ".jpg")]


@pytest.mark.slow
def test_an_interrupted_run_resumes_its_w_and_b_run(train: Train) -> None:
    with power_failure_in_the_second_epoch():
        train("model=plain", "logger=wandb")
    folder, _ = train("model=plain", "logger=wandb")
    broken, whole = offline_runs(folder)
    assert broken.run["run_id"] == whole.run["run_id"]
    assert (broken.exit_code, whole.exit_code) == (1, 0)
    logged = [row["epoch"] for recorded in (broken, whole) for row in recorded.history if "val/accuracy" in row]
    assert logged == [1, 2]


@pytest.mark.slow
@pytest.mark.exhaustive  # of two ranks, see tests/cli/test_main.py and tests/callbacks/test_panels.py
def test_only_the_first_of_two_ranks_logs(rocks: Path, tmp_path: Path) -> None:
    words = ["trainer=smoke", "trainer.devices=2", "trainer.strategy=ddp_find_unused_parameters_true", "logger=wandb"]
    words += ["data=folder", f"data.root={rocks}", "callbacks.summary=null", f"output={tmp_path}/outputs"]
    done = subprocess.run(
        [sys.executable, "-m", "fpcn_lightning", *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    (recorded,) = offline_runs(tmp_path / "outputs")
    assert [row["epoch"] for row in recorded.history if "val/accuracy" in row] == [1, 2]
    (log,) = (tmp_path / "outputs").rglob("metrics.csv")
    header, *rows = log.read_text().splitlines()
    column = header.split(",").index("val/accuracy")
    assert sum(row.split(",")[column] != "" for row in rows) == 2
