"""Teachers besides one checkpoint: a linear probe, a bundle, and ensembles of several networks."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules import checkpoints, floor
from fpcn_lightning.modules.bundle_teacher import BundleTeacher
from fpcn_lightning.modules.distillation import Distillation
from fpcn_lightning.modules.teacher import Teacher
from fpcn_lightning.runs.recording import file_hash
from fpcn_lightning.runs.results import Result
from tests.conftest import composed
from tests.tasks.conftest import Train

STUDENT = ("model=plain", "distillation=kd", "data.view_seed=0", "distillation.force=true")


@pytest.fixture(scope="module")
def teachers(rocks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: a linear probe and a fine-tuned network, only to be read."""
    place = tmp_path_factory.mktemp("teachers")
    for model in ("probe", "plain"):
        folder = place / "runs" / model
        folder.mkdir(parents=True)
        chosen = ("trainer=smoke", "data=folder", f"data.root={rocks}", f"model={model}", "callbacks.summary=null")
        run_task(composed(*chosen, f"output={place}", f"data.cache.directory={place}", "seed=7", folder=folder))
    return place / "runs"


def taught_by(result: Result) -> dict[str, object]:
    found = result.get("teacher")
    assert found is not None
    return found


def best(folder: Path) -> Path:
    return folder / "checkpoints" / "best.ckpt"


def weights(folder: Path) -> dict[str, Tensor]:
    return checkpoints.read(best(folder)).weights


def test_a_linear_probe_teaches(train: Train, teachers: Path) -> None:
    folder, result = train(*STUDENT, f"teacher={best(teachers / 'probe')}")
    assert result["status"] == "finished"
    assert taught_by(result)["variant"] == "probe"
    assert "train/loss_distillation" in (folder / "metrics.csv").read_text().splitlines()[0]


def test_an_ensemble_teaches_the_mean_of_its_members(train: Train, teachers: Path, tmp_path: Path) -> None:
    stores = tmp_path / "stores"
    _, result = train(*STUDENT, f"teacher={teachers}", f"distillation.store={stores}")
    keys = [json.loads(path.read_text()) for path in stores.glob("*/key.json")]
    assert {key["teacher"] for key in keys} == {
        file_hash(best(teachers / name), "teacher") for name in ("probe", "plain")
    }
    found = taught_by(result)
    assert [each["sha256"] for each in found["members"]] == sorted(key["teacher"] for key in keys)  # type: ignore[attr-defined]


def test_the_stores_of_single_teachers_are_those_of_the_ensemble(
    train: Train, teachers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("probe", "plain"):
        train(*STUDENT, f"teacher={best(teachers / name)}", folder=name)

    def never(self: Teacher, images: Tensor) -> Tensor:
        raise AssertionError("the logits of a member are stored already")

    monkeypatch.setattr(Teacher, "logits", never)
    monkeypatch.setattr(Distillation, "measured", lambda *_: None)
    _, together = train(*STUDENT, f"teacher={teachers}", folder="together")
    assert together["status"] == "finished"


def test_an_ensemble_that_runs_in_every_step_teaches_the_same(train: Train, teachers: Path) -> None:
    stored, _ = train(*STUDENT, f"teacher={teachers}", folder="stored")
    live, _ = train(*STUDENT, f"teacher={teachers}", "distillation.stored=false", folder="live")
    for name, value in weights(stored).items():
        torch.testing.assert_close(value, weights(live)[name], rtol=1e-4, atol=1e-6)


def test_the_checkpoint_of_a_student_of_an_ensemble_is_read_back(train: Train, teachers: Path) -> None:
    folder, result = train(*STUDENT, f"teacher={teachers}/*/checkpoints/best.ckpt")
    assert checkpoints.read(best(folder)).record.teacher == taught_by(result)


def test_features_of_an_ensemble_are_an_error(train: Train, teachers: Path) -> None:
    with pytest.raises(UserError, match=r"method=hint compares features.*pass one checkpoint"):
        train("model=plain", "distillation=hint", f"teacher={teachers}")


def test_a_run_is_no_teacher_of_itself(train: Train, tmp_path: Path) -> None:
    train("model=plain", folder="runs/own")
    with pytest.raises(UserError, match="includes the checkpoint of this run itself"):
        train(*STUDENT, f"teacher={tmp_path / 'runs'}", "overwrite=true", folder="runs/own")


def test_every_member_of_an_ensemble_is_checked(train: Train, teachers: Path, tmp_path: Path) -> None:
    content = torch.load(best(teachers / "plain"), weights_only=True)
    content["fpcn_lightning"]["split"] = 16 * "0"
    (tmp_path / "members").mkdir()
    (tmp_path / "members" / "good.ckpt").write_bytes(best(teachers / "plain").read_bytes())
    torch.save(content, tmp_path / "members" / "bad.ckpt")
    with pytest.raises(UserError, match="another split"):
        train(*STUDENT, f"teacher={tmp_path / 'members'}/*.ckpt")


@pytest.fixture(scope="module")
def bundle(teachers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the fine-tuned network, only to be read."""
    pytest.importorskip("onnxruntime")
    place = tmp_path_factory.mktemp("bundle")
    words = (f"checkpoint={best(teachers / 'plain')}", "export.max_drop=100", f"export.bundle={place / 'exported'}")
    run_task(composed("task=export", "trainer=smoke", f"data.cache.directory={place}", *words))
    return place / "exported"


@pytest.mark.slow
def test_a_bundle_has_the_predictions_of_its_checkpoint(bundle: Path, teachers: Path) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 3, 64, 64), dtype=np.uint8))
    network = Teacher(checkpoints.load(best(teachers / "plain")))
    ours, theirs = BundleTeacher(bundle).logits(images), network.logits(images)
    torch.testing.assert_close(ours.softmax(1), theirs.softmax(1), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_bundle_teaches(train: Train, bundle: Path) -> None:
    folder, result = train(*STUDENT, f"teacher={bundle}")
    found = taught_by(result)
    assert (found["variant"], found["seed"]) == ("plain", 7)
    assert result["data"] is not None
    assert found["split"] == result["data"]["fingerprint"]
    assert checkpoints.read(best(folder)).record.teacher == found


@pytest.mark.slow
@pytest.mark.parametrize("split", ["0" * 16, None])
def test_a_bundle_of_another_or_an_unknown_split_is_an_error(
    train: Train, bundle: Path, tmp_path: Path, split: str | None
) -> None:
    copied = Path(shutil.copytree(bundle, tmp_path / "copied"))
    manifest = json.loads((copied / "bundle.json").read_text())
    manifest["lineage"]["split"] = split
    (copied / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="another split, or does not state its split"):
        train(*STUDENT, f"teacher={copied}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("data.crop=48",), r"views of 64 px only.*data\.crop=48"),
        (("data.resize=80",), r"data\.resize=72, the student's have .*data\.resize=80"),
        (("distillation=hint",), "compares features"),
    ],
)
def test_a_bundle_that_does_not_fit_is_an_error(
    train: Train, bundle: Path, words: tuple[str, ...], message: str
) -> None:
    chosen = [word for word in STUDENT if not any(word.partition("=")[0] == each.partition("=")[0] for each in words)]
    with pytest.raises(UserError, match=message):
        train(*chosen, f"teacher={bundle}", *words)


def val_accuracy(result: Result) -> float:
    assert result["metrics"] is not None
    assert result["inference_mode"] is not None
    return result["metrics"]["val"][result["inference_mode"]]["accuracy"]


def measured(monkeypatch: pytest.MonkeyPatch, accuracy: float) -> None:
    """Pretend that every teacher has this accuracy on the validation split."""
    found = Distillation.measured

    def pretended(self: Distillation, split: Any, device: torch.device) -> Any:
        return {**(found(self, split, device) or {}), "accuracy": accuracy}

    monkeypatch.setattr(Distillation, "measured", pretended)


def test_the_record_says_how_good_the_teacher_is(train: Train, teachers: Path) -> None:
    whole = ("trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0", "data.mirrored_views=true")
    folder, before = train("model=plain", "seed=7", *whole)
    _, result = train(*STUDENT, f"teacher={best(folder)}", *whole, folder="taught")
    facts = result.get("teaching")
    assert facts is not None
    assert before["metrics"] is not None
    for ours, theirs in ((facts["val"], before["metrics"]["val"]), (facts["test"], before["metrics"]["test"])):
        assert ours is not None
        assert ours["confusion"] == theirs["plain"]["confusion"]


def test_the_record_says_after_how_many_runs_stored_logits_pay(train: Train, teachers: Path) -> None:
    taught = ("model=plain", "distillation=kd", f"teacher={best(teachers / 'probe')}", "data.epoch_length=3")
    _, stored = train(*taught, folder="stored")
    _, live = train(*taught, "distillation.stored=false", folder="live")
    facts, data = stored.get("teaching"), stored["data"]
    assert facts is not None
    assert data is not None
    steps, images = 3, 2 * len(data["classes"])
    assert facts["runs_to_pay"] == data["images"]["train"] / (steps * images)
    of_live = live.get("teaching")
    assert of_live is not None
    assert of_live["runs_to_pay"] is None


def test_a_teacher_below_its_student_alone_is_refused(
    train: Train, teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("model=plain", "data.view_seed=0", "name=sweep")
    alone = [val_accuracy(train(*given, f"seed={seed}", folder=f"sweep/alone/{seed}")[1]) for seed in (0, 1)]
    train(*given, "data.brightness=0.3", folder="sweep/another")
    taught = (*given, "distillation=kd", f"teacher={best(teachers / 'probe')}")
    mean = sum(alone) / 2
    measured(monkeypatch, mean - 0.01)
    sentence = f"validation accuracy of {100 * (mean - 0.01):.1f} %, below the {100 * mean:.1f} % of its student alone"
    with pytest.raises(UserError, match=rf"{sentence} \(mean of 2 runs .*distillation\.force=true"):
        train(*taught, folder="sweep/taught")
    _, forced = train(*taught, "distillation.force=true", folder="sweep/taught")
    assert forced["status"] == "finished"
    measured(monkeypatch, mean)
    _, better = train(*taught, "seed=5", folder="sweep/better")
    assert better["teaching"]["alone"] == pytest.approx(mean)  # type: ignore[index]


def test_a_teacher_below_the_probe_of_its_student_is_refused(
    train: Train, teachers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        floor, "make_floor", lambda *_, **__: SimpleNamespace(facts={"val": 0.8}, choose=lambda *_: None)
    )
    measured(monkeypatch, 0.79)
    sentence = r"79\.0 %, below the 80\.0 % of the linear probe that is the floor .*below \d+\.\d points may be chance"
    with pytest.raises(UserError, match=sentence):
        train("model=plain", "distillation=kd", f"teacher={best(teachers / 'probe')}")
