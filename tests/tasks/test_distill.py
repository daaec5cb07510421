"""Complete trainings with a teacher: the student's weights, the record of its teacher, and errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fpcn_lightning import build
from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.modules.student import Student
from fpcn_lightning.modules.teacher import Teacher
from fpcn_lightning.runs.recording import file_hash
from fpcn_lightning.runs.results import Result, read_result
from tests.conftest import composed
from tests.tasks.conftest import Train, trained_checkpoint

METHODS = ("kd", "dkd", "dist", "function_matching", "hint", "cosine")


def weights(folder: Path) -> dict[str, Tensor]:
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {name: value for name, value in content["state_dict"].items() if name.startswith("network.")}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def trained_once(rocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an FPCN."""
    return trained_checkpoint(rocks, tmp_path_factory.mktemp("teacher"), "model=fpcn", "seed=7")


@pytest.fixture
def teacher(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copy(trained_once, tmp_path / "teacher.ckpt"))


def lineage(result: Result) -> dict[str, object]:
    found = result.get("teacher")
    assert found is not None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_each_method_changes_the_students_weights(train: Train, teacher: Path, method: str) -> None:
    distilled, result = train("model=plain", f"distillation={method}", f"teacher={teacher}", folder="distilled")
    alone, _ = train("model=plain", folder="alone")
    assert not same(weights(distilled), weights(alone))
    assert result["metrics"] is not None
    header = (distilled / "metrics.csv").read_text().splitlines()[0].split(",")
    assert "train/loss_distillation" in header
    assert ("teacher/accuracy" in header) == (method not in ("function_matching", "hint", "cosine"))


def test_the_students_record_identifies_its_teacher(train: Train, teacher: Path) -> None:
    folder, result = train("model=plain", "distillation=kd", f"teacher={teacher}")
    found = lineage(result)
    assert found["sha256"] == file_hash(teacher, "teacher")
    assert found["teacher"] is None
    assert (found["variant"], found["seed"]) == ("fpcn", 7)
    assert result["data"] is not None
    assert found["split"] == result["data"]["fingerprint"]
    assert checkpoints.read(folder / "checkpoints" / "best.ckpt").record.teacher == found
    assert result["config"]["distillation"]["teacher"] == f"sha256:{file_hash(teacher, 'teacher')}"  # type: ignore[index]


@pytest.mark.slow
def test_a_moved_teacher_is_the_same_and_another_one_is_not(train: Train, teacher: Path, tmp_path: Path) -> None:
    def distilled(path: Path) -> Result:
        return train("model=plain", "distillation=kd", f"teacher={path}")[1]

    first = distilled(teacher)
    moved = Path(shutil.copy(teacher, tmp_path / "moved.ckpt"))
    assert distilled(moved)["started"] == first["started"]  # skipped
    other, _ = train("model=fpcn", "seed=8", folder="other")
    with pytest.raises(UserError, match="variant=NAME"):
        distilled(other / "checkpoints" / "best.ckpt")


def test_a_student_starts_with_the_same_weights_with_and_without_teacher(
    train: Train, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Tensor]] = []

    def remember(module: Classifier) -> None:
        begun.append({name: value.clone() for name, value in module.network.state_dict().items()})

    monkeypatch.setattr(Classifier, "on_fit_start", remember)
    for number, words in enumerate((("distillation=kd", f"teacher={teacher}"), ("distillation=plain",))):
        train("model=plain", *words, "seed=3", folder=str(number))
    assert same(*begun)


def test_training_does_not_change_the_teacher(train: Train, teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not train(), not an optimiser, not a checkpoint; its state is the same bit for bit after the training."""
    seen: list[Student] = []
    fit_end = Classifier.on_train_epoch_start

    def remembered(module: Student) -> None:
        module.train()
        seen.append(module)
        fit_end(module)

    monkeypatch.setattr(Student, "on_train_epoch_start", remembered, raising=False)
    folder, _ = train("model=plain", "distillation=hint", f"teacher={teacher}", "distillation.stored=false")
    taught_by = seen[-1]._teacher
    assert isinstance(taught_by, Teacher)
    before = checkpoints.read(teacher).weights
    after = taught_by.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in taught_by.network.modules())
    assert all(parameter.grad is None for parameter in taught_by.network.parameters())
    theirs = {id(parameter) for parameter in taught_by.network.parameters()}
    assert not theirs & {id(parameter) for parameter in seen[-1].parameters()}
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert not any("teacher" in name for name in content["state_dict"])
    optimised = sum(len(group["params"]) for group in content["optimizer_states"][0]["param_groups"])
    learned = [parameter for parameter in seen[-1].parameters() if parameter.requires_grad]
    assert optimised == len(learned)  # the regressor of the hint is among them


def test_training_is_the_same_with_stored_and_live_logits(train: Train, teacher: Path) -> None:
    distilled = ("model=plain", "distillation=kd", f"teacher={teacher}", "trainer.max_epochs=3")
    stored, _ = train(*distilled, folder="stored")
    live, _ = train(*distilled, "distillation.stored=false", folder="live")
    one, other = weights(stored), weights(live)
    for name, value in one.items():
        # The batches of the teacher have other images.
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-6)


def test_seeds_share_the_store_where_they_share_the_views(
    train: Train, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images_run: list[int] = []
    logits = Teacher.logits

    def counted(self: Teacher, images: Tensor) -> Tensor:
        images_run.append(len(images))
        return logits(self, images)

    monkeypatch.setattr(Teacher, "logits", counted)
    distilled = ("model=plain", "distillation=kd", f"teacher={teacher}", "data.view_seed=3")
    train(*distilled, "seed=0", folder="zero")
    evaluated = 6 + 6  # validation and test images, whose logits are stored, too
    assert sum(images_run) == 2 * 18 + evaluated  # every training image in both epochs
    _, one = train(*distilled, "seed=1", "distillation.temperature=5", folder="one")
    _, two = train(*distilled, "seed=2", "distillation=dist", folder="two")
    assert sum(images_run) == 2 * 18 + evaluated
    train("model=plain", "distillation=kd", f"teacher={teacher}", "seed=1", folder="own views")
    assert sum(images_run) == 4 * 18 + evaluated
    assert one["seconds"].get("teacher") is not None
    assert two["seconds"].get("teacher") is not None


def test_the_stored_logits_are_those_of_the_views_of_the_epoch(train: Train, teacher: Path, tmp_path: Path) -> None:
    """Read back and compared with the teacher's logits for the images of the loader."""
    store = tmp_path / "predictions"
    chosen = ("model=plain", "distillation=kd", f"teacher={teacher}", f"distillation.store={store}", "seed=4")
    _, result = train(*chosen)
    root = result["config"]["data"]["root"]  # type: ignore[index]
    cfg = composed("trainer=smoke", "data=folder", f"data.root={root}", "model=plain", "seed=4")
    data = build.datamodule(build.config(cfg).data, 4)
    data.setup()
    network = checkpoints.load(teacher)
    known = Teacher(network)
    for epoch in (0, 1):
        stored = np.load(store / f"epoch-{epoch:04}.npy")
        batches = data.train_dataloader()
        batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for batch in batches:
            rows = [data.split.train.index(position) for position in batch.positions.tolist()]
            np.testing.assert_allclose(stored[rows], known.logits(batch.images).numpy(), rtol=1e-4, atol=1e-4)


def test_a_store_of_another_configuration_is_an_error(train: Train, teacher: Path, tmp_path: Path) -> None:
    chosen = ("model=plain", "distillation=kd", f"teacher={teacher}", f"distillation.store={tmp_path / 'predictions'}")
    train(*chosen)
    with pytest.raises(UserError, match=r"stale: its views\.brightness is 0\.0"):
        train(*chosen, "data.brightness=0.2", folder="brighter")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("distillation=kd",), "teacher is not set"),
        (("distillation=kd", "teacher=nowhere.ckpt"), "pass the checkpoint of a finished training"),
        (("distillation=kd", "teacher=TEACHER", "data.resize=80"), r"data\.resize=72, the student has 80"),
        (("distillation=kd", "teacher=TEACHER", "distillation.method=hope"), "unknown"),
        (("distillation=kd", "teacher=TEACHER", "distillation.temperature=0"), "above 0"),
        (("distillation=kd", "teacher=TEACHER", "distillation.weight=-1"), "negative"),
        (
            ("distillation=function_matching", "teacher=TEACHER", "loss.classification.weight=1"),
            r"loss\.classification\.weight=0",
        ),
        (("distillation=function_matching", "teacher=TEACHER", "loss.center.weight=0.1"), r"loss\.center\.weight=0"),
        (("distillation=kd", "teacher=TEACHER", "distillation.store=/dev/null/x"), r"distillation\.store=FOLDER"),
    ],
)
def test_invalid_distillation_is_an_error(train: Train, teacher: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises((UserError, WriteError), match=message):
        train("model=plain", *[word.replace("TEACHER", str(teacher)) for word in words])


def test_the_record_of_a_student_of_a_student_identifies_both_teachers(train: Train, teacher: Path) -> None:
    first, _ = train("model=plain", "distillation=kd", f"teacher={teacher}", folder="first")
    own = first / "checkpoints" / "best.ckpt"
    _, second = train("model=plain", "distillation=kd", f"teacher={own}", folder="second")
    before = lineage(second)["teacher"]
    assert isinstance(before, dict)
    assert before["sha256"] == file_hash(teacher, "teacher")


@pytest.mark.parametrize(
    ("key", "other", "message"),
    [("classes", ["b", "a", "c"], "must have the same"), ("split", 16 * "0", "another split")],
)
def test_a_teacher_of_other_data_is_an_error(
    train: Train, teacher: Path, key: str, other: object, message: str
) -> None:
    content = torch.load(teacher, weights_only=True)
    content["fpcn_lightning"][key] = other
    torch.save(content, teacher)
    with pytest.raises(UserError, match=message):
        train("model=plain", "distillation=kd", f"teacher={teacher}")


def test_an_untrusted_teacher_runs_no_code(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "stranger.ckpt"
    path.write_bytes(b"cos\nsystem\n(S'touch stolen'\ntR.")
    with pytest.raises(UserError, match=r"distillation\.teacher"):
        train("model=plain", "distillation=kd", f"teacher={path}")


@pytest.mark.slow
def test_an_interrupted_student_reaches_the_same_weights(
    train: Train, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distilled = ("model=plain", "distillation=kd", f"teacher={teacher}", "trainer.max_epochs=3")
    whole, _ = train(*distilled, folder="whole")
    folder, _ = train(*distilled, folder="cut")
    shutil.rmtree(folder)

    def breaks(module: Classifier) -> None:
        if module.current_epoch == 2:
            raise KeyboardInterrupt
        Classifier.on_train_epoch_start(module)

    monkeypatch.setattr(Student, "on_train_epoch_start", breaks, raising=False)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(*distilled, folder="cut")
    monkeypatch.undo()
    assert read_result(folder / "result.json")["status"] == "interrupted"
    again, _ = train(*distilled, folder="cut")
    assert same(weights(again), weights(whole))
    assert json.loads((again / "result.json").read_text())["epochs"] == 3
