"""The installed demonstration: it is small, says what it is, and knows the rocks that it was drawn for."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.demo_bundle import run as recipe
from fpcn_lightning.data.synthetic import rocks
from fpcn_lightning.errors import UserError
from fpcn_lightning.field import demo
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import classify_file
from fpcn_lightning.field.command import main
from fpcn_lightning.field.model import BundleModel

FRESH_SEED = 2  # rocks that neither the training nor the shipped photographs show
FRESH = 15  # of each class


def test_the_name_stands_for_the_installed_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = read_bundle(Path("demo"))
    assert bundle.folder == demo.BUNDLE
    assert bundle.classes == rocks.CLASSES
    (tmp_path / "demo").mkdir()  # a folder of something else
    assert read_bundle(Path("demo")).folder == demo.BUNDLE
    (tmp_path / "demo" / "bundle.json").write_text("{}")
    with pytest.raises(UserError, match=r"demo/bundle\.json"):
        read_bundle(Path("demo"))
    assert demo.resolved(tmp_path / "other" / "demo") == tmp_path / "other" / "demo"


def test_everything_says_that_it_is_a_demonstration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_bundle(demo.BUNDLE).usability.notice == recipe.NOTICE
    assert recipe.NOTICE in (demo.BUNDLE / "card.md").read_text(encoding="utf-8")
    main(["demo-photos", str(tmp_path / "photographs")])
    for words in (["info"], ["predict", str(next(tmp_path.rglob("*.jpg")))], ["check", str(tmp_path / "photographs")]):
        command, *rest = words
        output = ["--output", str(tmp_path / "checked")] if command == "check" else []
        capsys.readouterr()
        assert main([command, "demo", *rest, *output]) == 0
        assert recipe.NOTICE in capsys.readouterr().out
    assert recipe.NOTICE in (tmp_path / "checked" / "index.html").read_text(encoding="utf-8")


def test_it_is_small_and_was_trained_by_the_kept_recipe() -> None:
    files = [path for path in demo.FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    lineage = json.loads((demo.BUNDLE / "bundle.json").read_text(encoding="utf-8"))["lineage"]
    assert (lineage["name"], lineage["variant"], lineage["seed"]) == (recipe.NAME, recipe.VARIANT, recipe.SEED)
    assert lineage["pretrained"] is False
    assert f"backbone={lineage['backbone']}" in recipe.TRAINING


def test_the_shipped_photographs_are_those_of_the_recipe(tmp_path: Path) -> None:
    recipe.draw_photographs(tmp_path / "drawn")
    drawn, shipped = (sorted(folder.rglob("*.jpg")) for folder in (tmp_path / "drawn", demo.PHOTOGRAPHS))
    assert [path.name for path in drawn] == [path.name for path in shipped]
    for one, other in zip(drawn, shipped, strict=True):
        pixels = [np.asarray(Image.open(path), np.float32) for path in (one, other)]
        assert np.abs(pixels[0] - pixels[1]).mean() < 2  # libjpeg versions differ by a level or two


def test_it_predicts_drawn_rocks_that_it_has_not_seen(tmp_path: Path) -> None:
    bundle = read_bundle(demo.BUNDLE)
    model, right = BundleModel(bundle), 0
    for label in rocks.CLASSES:
        for number in range(FRESH):
            path = tmp_path / f"{label}-{number}.png"
            Image.fromarray(rocks.draw(label, 2 * number, size=recipe.SIZE, seed=FRESH_SEED)[0]).save(path)
            probabilities = classify_file(model, path).probabilities
            assert probabilities is not None
            right += bundle.classes[int(np.argmax(probabilities))] == label
    stated = bundle.files[bundle.default]["accuracy"]
    assert stated is not None
    assert stated > 0.8
    assert right / (FRESH * len(rocks.CLASSES)) > stated - 0.15  # three standard errors of 45 photographs


def test_info_prints_the_photographs_of_each_class(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "demo"]) == 0
    printed = capsys.readouterr().out
    counts = read_bundle(demo.BUNDLE).photographs
    assert counts is not None
    assert f"{sum(counts['train']):,} to train, {sum(counts['val']):,} to validate" in printed
    table = re.findall(r"^  (\w+) +([\d,]+) +([\d,]+) +([\d,]+)$", printed, re.MULTILINE)
    rows = [[int(cell.replace(",", "")) for cell in row[1:]] for row in table]
    assert [row[0] for row in table] == list(rocks.CLASSES)
    assert rows == [list(each) for each in zip(counts["train"], counts["val"], counts["test"], strict=True)]


def test_photographs_are_not_copied_over_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").touch()
    assert main(["demo-photos", str(tmp_path)]) == 2
    assert "is not empty: choose another folder" in capsys.readouterr().err
