"""Students that learn from photographs without a class."""

import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from fpcn_lightning.data.synthetic.dataset import make_synthetic
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.student import Student
from tests.callbacks.test_step_checkpoint import LENGTH, PLACES, killed_and_resumed
from tests.tasks.conftest import Train, trained_checkpoint

KD = ("model=plain", "distillation=kd", "data.view_seed=0")


@pytest.fixture(scope="module")
def teacher(rocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a network on a backbone."""
    return trained_checkpoint(rocks, tmp_path_factory.mktemp("teacher"), "model=plain", "seed=7")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 18 photographs."""
    place = tmp_path_factory.mktemp("photographs") / "set"
    return make_synthetic(place, images_per_class=6, size=64, seed=9).parent / "images"


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoints.read(folder / "checkpoints" / "last.ckpt").weights


def listed(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "unlabelled.csv").open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_they_teach_the_student_and_share_the_store_of_the_others(
    train: Train, teacher: Path, photographs: Path, tmp_path: Path
) -> None:
    store = tmp_path / "stores"
    words = (*KD, f"teacher={teacher}", f"distillation.unlabelled={photographs}")
    folder, result = train(*words, f"distillation.store={store}", "distillation.weight=1")
    alone, _ = train(*KD, f"teacher={teacher}", "distillation.weight=1", folder="alone")
    assert result["unlabelled"]["used"] == 18  # type: ignore[index]
    assert {row["used"] for row in listed(folder).values()} == {"yes"}
    assert any(not torch.equal(value, weights(alone)[name]) for name, value in weights(folder).items())
    keys = [json.loads(path.read_text()) for path in store.glob("*/key.json")]
    assert sorted("unlabelled" in key for key in keys) == [False, True]
    live, _ = train(*words, "distillation.stored=false", "distillation.weight=1", folder="live")
    for name, value in weights(folder).items():
        torch.testing.assert_close(value, weights(live)[name], rtol=1e-4, atol=1e-6)


def test_terms_of_the_labels_do_not_see_them(
    train: Train, teacher: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    terms = Student.loss_terms

    def counted(module: Student, views: object, labels: Tensor) -> dict[str, Tensor]:
        sizes.append((len(labels), int((labels < 0).sum())))
        return terms(module, views, labels)  # type: ignore[arg-type]

    monkeypatch.setattr(Student, "loss_terms", counted)
    train(*KD, f"teacher={teacher}", f"distillation.unlabelled={photographs}", "distillation.unlabelled_share=0.4")
    assert set(sizes) == {(6, 0)}


def test_a_near_copy_of_a_test_photograph_is_left_out_and_listed(train: Train, teacher: Path, tmp_path: Path) -> None:
    before, _ = train("model=plain", folder="before")
    with (before / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    root = Path(json.loads((before / "result.json").read_text())["config"]["data"]["root"]).parent
    copies = tmp_path / "copies"
    copies.mkdir()
    for split in ("train", "val", "test"):
        name = next(row["name"] for row in rows if row["split"] == split)
        with Image.open(root / name) as image:
            image.convert("RGB").resize((200, 200), Image.Resampling.BICUBIC).save(copies / f"{split}.jpg", quality=92)
    folder, result = train(*KD, f"teacher={teacher}", f"distillation.unlabelled={copies}")
    found = listed(folder)
    assert found["train.jpg"]["used"] == "yes"
    for split in ("val", "test"):
        assert found[f"{split}.jpg"]["used"] == "no"
        assert "near copy" in found[f"{split}.jpg"]["reason"]
    assert (result["unlabelled"]["used"], result["unlabelled"]["left_out"]) == (1, 2)  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.exhaustive  # of what is resumed, see tests/callbacks/test_step_checkpoint.py
def test_a_training_with_them_is_resumed_within_an_epoch(train: Train, photographs: Path) -> None:
    taught, _ = train("model=plain", "data.epoch_length=4", folder="teacher")
    words = (*KD, f"teacher={taught}/checkpoints/best.ckpt", f"distillation.unlabelled={photographs}")
    killed_and_resumed(train, (*LENGTH, *words), PLACES[:5], "1steps")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=api_net",), r"APINet chooses pairs .*plain student"),
        (("model=plain", "distillation.method=dkd"), "method=dkd needs the class"),
        (("model=plain", "distillation.unlabelled_share=1"), "above 0 and below 1"),
        (("model=plain", "distillation.unlabelled=nowhere"), "does not exist"),
    ],
)
def test_what_cannot_use_them_is_an_error(
    train: Train, teacher: Path, photographs: Path, words: tuple[str, ...], message: str
) -> None:
    place = () if any(word.startswith("distillation.unlabelled=") for word in words) else (photographs,)
    given = tuple(f"distillation.unlabelled={each}" for each in place)
    with pytest.raises(UserError, match=message):
        train("distillation=kd", f"teacher={teacher}", *given, *words)


def test_a_run_that_plans_minutes_measures_batches_with_them(train: Train, teacher: Path, photographs: Path) -> None:
    given = (f"teacher={teacher}", f"distillation.unlabelled={photographs}", "training.budget=0.01min")
    _, result = train(*KD, *given)
    assert result["status"] == "finished"
