"""`task=explain`: panels, measures and findings of trained runs, and errors."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.cli.main import run_task
from fpcn_lightning.errors import UserError
from fpcn_lightning.explain.measurement import HeatMapStudy
from fpcn_lightning.runs.results import read_result
from tests.conftest import composed
from tests.tasks.conftest import Train

WHOLE = ("trainer.limit_test_batches=1.0", "trainer.limit_val_batches=1.0")


def explain(output: Path, *overrides: str) -> None:
    run_task(composed("task=explain", "trainer=smoke", f"output={output}", *overrides))


def checkpoint(folder: Path) -> str:
    return f"checkpoint={folder}/checkpoints/best.ckpt"


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "heat_maps.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def refuse(*_: Any) -> None:
    raise AssertionError("measured again")


@pytest.mark.slow
def test_two_networks_are_explained_on_their_own_images(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    main, result = train("model=fpcn", "name=rocks", *WHOLE)
    other, _ = train("model=plain", "name=rocks", *WHOLE, folder="other")
    words = (checkpoint(main), f"explain.compare_with=[{other}/checkpoints/best.ckpt]", "explain.measured=null")
    explain(tmp_path, *words)
    folder = tmp_path / "explanations" / "rocks-fpcn-seed-0"
    output = capsys.readouterr().out
    assert f"panels: {folder}/panels.png" in output
    assert "- fpcn: " in output
    assert "- plain: " in output
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.index("fpcn: on average") < page.index("energy inside") < page.index("data:image/jpeg")
    rows = rows_of(folder / "fpcn")
    assert result["data"] is not None
    assert len(rows) == result["data"]["images"]["test"]
    assert sum(row["deletion"] != "" for row in rows) == 1  # explain.curves of trainer=smoke
    assert all(row["mask_overlap"] and row["changed_background"] in ("0.0000", "1.0000") for row in rows)
    with (main / "test_predictions.csv").open() as file:
        predicted = {row["name"]: row["predicted"] for row in csv.DictReader(file)}
    assert {row["name"]: row["predicted"] for row in rows} == predicted
    assert all(row["mask_overlap"] == "" for row in rows_of(folder / "plain"))

    with monkeypatch.context() as patch:
        patch.setattr(HeatMapStudy, "rows", refuse)
        explain(tmp_path, *words)
        with pytest.raises(AssertionError, match="measured again"):
            explain(tmp_path, *words, "explain.method=layer_cam")
    assert rows_of(folder / "fpcn") == rows  # the old measures are kept until the new ones are written
    train("model=fpcn", "name=rocks", "overwrite=true", "seed=1", *WHOLE)
    assert not (main / "heat_maps.csv").exists()


@pytest.mark.slow
def test_other_images_are_drawn_in_pages(
    train: Train, tmp_path: Path, rocks: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder, result = train("model=plain", "name=rocks", *WHOLE)
    assert result["data"] is not None
    label = result["data"]["classes"][0]
    source = tmp_path / "found" / label
    source.mkdir(parents=True)
    for number, path in enumerate(sorted(rocks.parent.glob(f"images/{label}/*.jpg"))[:3]):
        with Image.open(path) as picture:
            picture.resize((90 + 10 * number, 70)).save(source / f"{number}.png")
    (source / "notes.jpg").write_text("no picture")
    explain(tmp_path, checkpoint(folder), f"source={source.parent}")
    place = tmp_path / "explanations" / "rocks-plain-seed-0" / "found"
    assert [path.name for path in sorted(place.iterdir())] == [
        "index.html",
        "panels-001.png",
        "panels-002.png",
    ]
    assert "of 3 pictures rightly, by the names of their folders" in (place / "index.html").read_text(encoding="utf-8")
    assert "notes.jpg is skipped: this is no picture" in caplog.text
    one, two = (size(place / f"panels-00{number}.png") for number in (2, 1))
    assert one[0] == two[0]
    assert one[1] < two[1]
    explain(tmp_path, checkpoint(folder), f"source={source / '0.png'}")
    assert size(tmp_path / "explanations" / "rocks-plain-seed-0" / "0" / "panels.png") == one
    shutil.rmtree(source)
    source.mkdir()
    (source / "notes.jpg").write_text("no picture")
    with pytest.raises(UserError, match="holds no picture that can be read"):
        explain(tmp_path, checkpoint(folder), f"source={source}")


@pytest.mark.slow
def test_all_runs_of_a_folder_are_explained_and_reported(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for model in ("plain", "fpcn", "majority"):
        train(f"model={model}", "name=rocks", "report.reference=plain", *WHOLE, folder=f"runs/{model}")
    runs = next(path for path in tmp_path.rglob("runs") if path.is_dir())
    explain(tmp_path, f"runs={runs}")
    assert "majority has no feature map for heat maps" in caplog.text
    markdown = (runs / "localisation.md").read_text()
    assert "fpcn against plain: " in markdown
    assert "Painting over a region changes so many of its predictions: the background " in markdown
    page = (runs / "index.html").read_text()
    assert "energy inside %" in page
    assert "data:image/jpeg;base64," in page
    assert size(runs / "explanations" / "panels.png")[0] > 400
    # The report can be written again without the networks.
    shutil.rmtree(runs / "plain" / "checkpoints")
    run_task(composed("task=report", f"runs={runs}"))
    assert (runs / "localisation.md").read_text() == markdown


def test_invalid_settings_of_explain_are_errors(train: Train, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither checkpoint nor runs is set"):
        explain(tmp_path)
    with pytest.raises(UserError, match=r"explain\.method=gradcam.*grad_cam"):
        explain(tmp_path, "explain.method=gradcam")
    with pytest.raises(UserError, match=r"explain\.steps=0 must be at least 1"):
        explain(tmp_path, "explain.steps=0")
    with pytest.raises(UserError, match=r"x\.ckpt is not a file"):
        explain(tmp_path, "checkpoint=x.ckpt")
    with pytest.raises(UserError, match=r"holds no result\.json"):
        explain(tmp_path, f"runs={tmp_path}")


@pytest.mark.slow
def test_networks_that_cannot_be_compared_are_an_error(train: Train, tmp_path: Path, rocks: Path) -> None:
    folder, _ = train("model=majority", "name=rocks", *WHOLE)
    assert read_result(folder / "result.json")["status"] == "finished"
    with pytest.raises(UserError, match="one network twice"):
        explain(tmp_path, checkpoint(folder), f"explain.compare_with=[{folder}/checkpoints/best.ckpt]")
    with pytest.raises(UserError, match="has no feature map for heat maps"):
        explain(tmp_path, checkpoint(folder))
    photographs = tmp_path / "two"
    for number, label in enumerate(("granite", "tuff") * 8):
        (photographs / label).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(photographs / label / f"{number}.png")
    other, _ = train("data=folder", f"data.root={photographs}", "model=plain", *WHOLE, folder="other")
    with pytest.raises(UserError, match="has other classes than"):
        explain(tmp_path, checkpoint(folder), f"explain.compare_with=[{other}/checkpoints/best.ckpt]")
    shutil.rmtree(photographs)
    with pytest.raises(UserError, match="does not exist"):
        explain(tmp_path, checkpoint(other))
