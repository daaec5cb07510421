"""`task=train`, complete: the files of a run, and that the random state depends on the seed only."""

import csv
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import RunInUse, UserError
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.report import figures
from fpcn_lightning.runs.lock import hold_lock
from fpcn_lightning.runs.results import Run, read_result
from fpcn_lightning.tasks import leave_page
from tests.conftest import composed
from tests.tasks.conftest import Train


def weights(folder: Path, name: str = "last") -> dict[str, Tensor]:
    content = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return dict(content["state_dict"])


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("model", ["plain", "fpcn", "fpcn_official"])
def test_a_run_writes_its_complete_record(train: Train, model: str) -> None:
    folder, result = train(f"model={model}", figures=True)
    assert result["status"] == "finished"
    assert result["data"] is not None
    assert result["data"]["images"] == {"train": 18, "val": 6, "test": 6}
    assert result["metrics"] is not None
    inference_modes = {"plain": {"plain"}}.get(model, {"as_trained", "masked", "unmasked", "mean"})
    for side in ("val", "test"):
        measured = result["metrics"][side]
        assert measured.keys() == inference_modes
        assert all(inference_mode["images"] == 6 for inference_mode in measured.values())
    assert result["network"] is not None
    assert result["network"]["milliseconds"] > 0
    assert result["checkpoint"] == "checkpoints/best.ckpt"
    for name in ("checkpoints/best.ckpt", "split.csv", "refused.csv", "metrics.csv", "test_predictions.csv"):
        assert (folder / name).stat().st_size > 0
    for picture in ("confusion_matrix.png", "learning_curves.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2
    accuracy = result["metrics"]["test"][str(result["inference_mode"])]["accuracy"]
    assert page.count("data:image/jpeg") == round(6 * (1 - accuracy)), "a thumbnail for each mistake"
    with (folder / "test_predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = [float(row[row["label"]]) for row in rows]
    assert len(rows) == 6
    assert right == sorted(right)
    assert str(folder) not in (folder / "result.json").read_text()


def test_the_verdict_is_printed_before_the_table(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = train("model=plain")
    out = capsys.readouterr().out
    assert out.index("plain (seed 0) classifies") < out.index("binomial") < out.index(f"report: {folder}/index.html")


def test_the_record_is_finished_before_anything_is_drawn(
    train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    status = []

    def fail(run: Run) -> None:
        status.append(read_result(run[0] / "result.json")["status"])
        raise RuntimeError("no such font")

    monkeypatch.setattr(leave_page, "write_run_page", fail)
    _, result = train("model=plain")
    assert status == ["finished"]
    assert result["status"] == "finished"
    assert result["metrics"] is not None
    assert "could not be made: RuntimeError: no such font" in caplog.text


def test_figures_that_fail_leave_record_and_page(
    train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    for name in ("confusion_matrix", "learning_curves"):
        monkeypatch.setattr(figures, name, fail)
    folder, result = train("model=plain", figures=True)
    assert result["status"] == "finished"
    assert "plain (seed 0) classifies" in (folder / "index.html").read_text(encoding="utf-8")
    assert "confusion_matrix.png could not be made: MemoryError" in caplog.text


def test_a_run_that_fails_leaves_a_page_that_says_so(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("the graphics card is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", fail)
        with pytest.raises(UserError, match="is gone"):
            train("model=plain")
    page = tmp_path / "run" / "index.html"
    assert "plain (seed 0) has no result: failed" in page.read_text(encoding="utf-8")
    train("model=plain")
    assert "has no result" not in page.read_text(encoding="utf-8")


def test_a_photograph_that_is_gone_leaves_a_gap_in_the_page(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: RockDataModule, position: int, side: int) -> None:
        raise UserError(f"{self.index.pictures[position].path} could be read when the run began, but not any more")

    monkeypatch.setattr(RockDataModule, "thumbnail", gone)
    folder, result = train("model=plain")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert result["status"] == "finished"
    assert result["metrics"] is not None
    assert page.count("no picture") == round(6 * (1 - result["metrics"]["test"]["plain"]["accuracy"])) > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_bit_for_bit_whatever_the_workers(train: Train) -> None:
    first, _ = train(folder="first")
    again, _ = train(folder="again")
    workers, _ = train("data.workers=2", folder="workers")
    other, _ = train("seed=1", folder="other")
    assert same(weights(first), weights(again))
    assert same(weights(first), weights(workers))
    assert not same(weights(first), weights(other))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["fpcn", "fpcn_official"])
def test_an_interrupted_run_resumes_bit_for_bit(train: Train, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = (f"model={model}", "trainer.max_epochs=3", "training.freeze_epochs=1")
    whole, _ = train(*chosen, folder="whole")
    step = Classifier.training_step

    def dies_in_the_last_epoch(self: Classifier, batch: object, batch_idx: int) -> Tensor:
        if self.current_epoch == 2 and batch_idx == 1:
            raise RuntimeError("the power is gone")
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(Classifier, "training_step", dies_in_the_last_epoch)
    with pytest.raises(RuntimeError, match="the power is gone"):
        train(*chosen, folder="broken")
    broken = whole.parent / "broken"
    record = read_result(broken / "result.json")
    assert (record["status"], record["error"]) == ("failed", "RuntimeError: the power is gone")
    monkeypatch.setattr(Classifier, "training_step", step)
    resumed, result = train(*chosen, folder="broken")
    assert result["status"] == "finished"
    assert same(weights(whole), weights(resumed))
    assert same(weights(whole, "best"), weights(resumed, "best"))


def test_a_finished_run_is_not_run_again_and_a_changed_one_does_not_replace_it(train: Train) -> None:
    folder, _ = train()
    written = (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns
    train()
    assert (folder / "checkpoints" / "best.ckpt").stat().st_mtime_ns == written
    with pytest.raises(UserError, match="run of another config: name this run with variant=NAME"):
        train("seed=3")
    _, result = train("seed=3", "overwrite=true")
    assert result["seed"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("logger", ["tensorboard", "wandb"])
def test_other_loggers_write_into_the_run_folder(train: Train, logger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    folder, result = train(f"logger={logger}")
    assert result["status"] == "finished"
    assert list((folder / logger).rglob("*.wandb" if logger == "wandb" else "events.out.*"))


def test_trainer_smoke_runs_few_steps() -> None:
    cfg = composed("trainer=smoke")
    assert cfg.output == "outputs/smoke"
    assert cfg.trainer.max_epochs == 2


def test_a_run_that_failed_before_its_first_epoch_does_not_block_the_folder(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        train(f"data.root={tmp_path}/nowhere")
    _, result = train()
    assert result["status"] == "finished"


def interrupt(folder: Path) -> None:
    """Make a finished run look like one that was killed after its last epoch."""
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"status": "finished"', '"status": "running"'))


def test_an_interrupted_run_is_not_resumed_with_changed_images(train: Train, rocks: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", photographs)
    folder, _ = train(f"data.root={photographs}")
    interrupt(folder)
    (photographs / "granular" / "0000.jpg").unlink()
    with pytest.raises(UserError, match=r"have changed since .* was interrupted"):
        train(f"data.root={photographs}")


def test_a_damaged_checkpoint_is_an_error(train: Train) -> None:
    folder, _ = train()
    interrupt(folder)
    path = folder / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last\.ckpt is not a checkpoint"):
        train()


def test_the_seconds_of_an_interrupted_run_are_added_up(train: Train) -> None:
    folder, first = train()
    interrupt(folder)
    _, second = train()
    assert first["seconds"]["fit"] is not None
    assert second["seconds"]["fit"] is not None
    assert second["seconds"]["fit"] >= first["seconds"]["fit"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("variant=../../elsewhere", "variant=../../elsewhere names a folder"),
        ("report.reach=80", "report.reach=80.0 must be an accuracy"),
        ("name=''", "name= names a folder"),
        ("trainer.max_epochs=abc", "max_epochs=abc must be a whole number"),
        ("trainer.max_epochs=-1", "max_epochs=-1 must be a whole number"),
        ("trainer.limit_test_batches=0", "limit_test_batches=0 must be above 0"),
        ("model.mask=nope", "model.mask=nope must be true or false"),
        ("model.theta=abc", "model.theta is abc"),
        ("model.fusion_hidden=-1", "model.fusion_hidden is -1"),
        ("optimizer.lr=inf", "optimizer.lr=inf must be a finite number"),
        ("loss.classification.weight=nan", "loss.classification.weight=nan must be a finite number"),
        ("optimizer.lr=-1", "optimizer cannot be built: Invalid learning rate: -1"),
        ("loss.center.rate=7", "loss.center.rate=7"),
        ("data.evaluation_crop=73", "data.evaluation_crop=73 must be in"),
    ],
)
def test_a_value_out_of_range_is_an_error(train: Train, override: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        train("model=fpcn_gated", override)
    assert message in str(caught.value)


def test_a_run_that_diverges_has_no_result(train: Train) -> None:
    with pytest.raises(UserError, match="training diverged"):
        train("model=plain", "optimizer.lr=1e30")


def test_a_backbone_of_fixed_size_needs_an_evaluation_crop_of_that_size(train: Train) -> None:
    words = ("model=plain", "model.backbone=test_vit", "data.resize=176", "data.crop=160", "data.evaluation_crop=176")
    with pytest.raises(UserError, match="accepts images of one size only"):
        train(*words)


def test_two_processes_do_not_train_the_same_run(train: Train, tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path / "run"),
        pytest.raises(RunInUse, match=r"another process is training in .*run: let it finish"),
    ):
        train()
    assert not (tmp_path / "run" / "result.json").exists()
    _, result = train()
    assert result["status"] == "finished"


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_a_stopped_run_is_marked_interrupted_and_resumes(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signal: type[BaseException]
) -> None:
    step = Classifier.training_step

    def is_stopped_in_the_last_epoch(self: Classifier, batch: object, batch_idx: int) -> Tensor:
        if self.current_epoch == 1:
            raise signal
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(Classifier, "training_step", is_stopped_in_the_last_epoch)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train()
    assert read_result(tmp_path / "run" / "result.json")["status"] == "interrupted"
    monkeypatch.setattr(Classifier, "training_step", step)
    _, result = train()
    assert (result["status"], result["error"], result["epochs"]) == ("finished", None, 2)


def test_with_test_false_the_test_split_is_not_used(train: Train) -> None:
    folder, result = train("test=false", "model=plain")
    assert result["metrics"] is not None
    assert result["metrics"]["test"] == {}
    assert result["metrics"]["val"]["plain"]["images"] == 6
    assert not (folder / "test_predictions.csv").exists()


def test_the_predictions_have_the_located_and_the_true_object_ratio(train: Train) -> None:
    folder, _ = train()
    with (folder / "test_predictions.csv").open(newline="") as file:
        ratios = [(float(row["object_ratio"]), float(row["true_object_ratio"])) for row in csv.DictReader(file)]
    assert len(ratios) == 6
    assert all(0 < found <= 1 and 0 < true < 1 for found, true in ratios)


def test_the_split_of_another_run_can_be_used(train: Train) -> None:
    first, result = train("data.split.seed=7", "model=plain")
    _, again = train(f"data.split.file={first}/split.csv", "model=plain", folder="again")
    assert result["data"] is not None
    assert again["data"] is not None
    assert again["data"]["fingerprint"] == result["data"]["fingerprint"]


def test_the_record_has_a_published_split_that_was_recognised(train: Train, rocks: Path, tmp_path: Path) -> None:
    with (rocks.parent / "index.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            place = tmp_path / "published" / {"train": "Training_Set"}.get(row["split"], row["split"]) / row["label"]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(rocks.parent / row["path"], place)
    _, result = train("model=lenet", f"data.root={tmp_path / 'published'}")
    assert result["data"] is not None
    assert result["data"]["published"] == {"train": "Training_Set", "val": "val", "test": "test"}


def test_a_finished_run_whose_images_have_changed_is_not_skipped(train: Train, rocks: Path, tmp_path: Path) -> None:
    photographs = tmp_path / "photographs"
    shutil.copytree(rocks.parent / "images", photographs)
    chosen = ("model=plain", f"data.root={photographs}")
    folder, _ = train(*chosen)
    train(*chosen)
    shutil.copy(photographs / "veined" / "0000.jpg", photographs / "veined" / "new.jpg")
    with pytest.raises(UserError, match=r"other images: 1 image was added \(veined/new\.jpg\).*overwrite=true"):
        train(*chosen)
    _, result = train(*chosen, "overwrite=true")
    assert result["data"] is not None
    images = result["data"]["images"]
    assert images["train"] + images["val"] + images["test"] == 31
    shutil.rmtree(photographs)
    train(*chosen)  # where the images are no longer there, the result is still that of this run
    assert read_result(folder / "result.json") == result


@pytest.mark.parametrize("damage", ["zeros", "folder"])
def test_a_record_that_a_power_loss_has_damaged_is_set_aside_and_the_run_resumes(train: Train, damage: str) -> None:
    folder, first = train("model=plain")
    path = folder / "result.json"
    size = path.stat().st_size
    path.unlink()
    if damage == "zeros":
        path.write_bytes(b"\0" * size)
    else:
        path.mkdir()
    with pytest.raises(UserError, match="holds a run of another config"):
        train("model=plain", "optimizer.lr=0.02")
    _, again = train("model=plain")
    assert (again["status"], again["metrics"]) == ("finished", first["metrics"])
    assert (folder / "result.json.damaged").exists()
    assert again["images_per_second"]["training"] is None  # no epoch was trained again


def test_weights_that_are_not_finite_are_refused(train: Train) -> None:
    folder, _ = train("model=plain")
    path = folder / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    name = next(name for name, values in content["state_dict"].items() if values.is_floating_point())
    content["state_dict"][name][:] = float("nan")
    torch.save(content, path)
    for task in ("evaluate", "export"):
        with pytest.raises(UserError, match=r"best\.ckpt has weights that are NaN or infinite"):
            train(f"task={task}", f"checkpoint={path}", folder=task)
