"""The page of one run or evaluation."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fpcn_lightning.report import figures
from fpcn_lightning.report.mistakes import MISTAKES, MOST, shown_mistakes, write_thumbnails
from fpcn_lightning.report.run_page import write_run_page
from fpcn_lightning.runs.results import Run, read_result, write_result
from tests.report.run_folders import leave_run
from tests.report.test_page import NASTY, Reader, read, shown
from tests.runs.test_results import make_failed, make_metrics


def run_of(folder: Path) -> Run:
    return folder, read_result(folder / "result.json")


def page_of(folder: Path) -> Reader:
    path = write_run_page(run_of(folder))
    assert path == folder / "index.html"
    return read(path.read_text(encoding="utf-8"))


def text_of(reader: Reader) -> str:
    return " ".join(reader.text.split())


def grey(name: str) -> Image.Image:
    return Image.new("RGB", (240, 160), (10 * int(name[:4]),) * 3)


def test_verdict_table_figures_and_notes_come_in_this_order(tmp_path: Path) -> None:
    leave_run(tmp_path, [1] * 20 + [0] * 5)
    write_thumbnails(run_of(tmp_path), grey)
    reader = page_of(tmp_path)
    text = text_of(reader)
    words = [
        "plain (seed 0) classifies 80.0 %",
        "macro-F1 %",
        "most often taken for",
        "The worst mistakes",
        "Training",
        "Where the numbers come from",
        "Notes",
        "Chance predicts every class equally often",
    ]
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert len([place for place in reader.places if place.startswith("data:image/png")]) == 2
    assert all(place.startswith("data:") for place in reader.places), "nothing is loaded from elsewhere"
    assert {"script", "link", "iframe"}.isdisjoint(reader.tags)
    assert (tmp_path / "confusion_matrix.png").is_file()
    assert (tmp_path / "learning_curves.png").is_file()


def test_charts_fit_a_dark_page_and_photographs_keep_their_colours(tmp_path: Path) -> None:
    leave_run(tmp_path, [1, 0])
    write_thumbnails(run_of(tmp_path), grey)
    html = write_run_page(run_of(tmp_path)).read_text(encoding="utf-8")
    assert re.search(r"prefers-color-scheme: dark\) \{ img\.chart \{ filter: invert", html)
    kinds = re.findall(r'<img class="(\w+)" src="data:image/(\w+)', html)
    assert sorted(kinds) == [("chart", "png"), ("chart", "png"), ("photo", "jpeg")]


def test_the_worst_mistakes_are_pictures_with_classes_and_probabilities(tmp_path: Path) -> None:
    leave_run(tmp_path, [1, 1, 0, 0, 0])
    write_thumbnails(run_of(tmp_path), grey)
    reader = page_of(tmp_path)
    assert [picture.size for picture in shown(reader)] == [(240, 160)] * 3
    means = [round(float(np.asarray(picture).mean())) for picture in shown(reader)]
    assert means == [20, 30, 40]
    assert "basalt 75.0 %predicted гранит 75.0 %0002.jpg" in text_of(reader)


def test_no_more_than_a_dozen_mistakes_are_shown_and_earlier_ones_are_removed(tmp_path: Path) -> None:
    leave_run(tmp_path, [0] * 25)
    write_thumbnails(run_of(tmp_path), grey)
    assert len(shown(page_of(tmp_path))) == MOST == 12
    leave_run(tmp_path, [1, 1, 0])
    write_thumbnails(run_of(tmp_path), grey)
    assert [path.name for path in (tmp_path / MISTAKES).iterdir()] == ["01.jpg"]


def test_a_picture_that_is_gone_leaves_a_gap(tmp_path: Path) -> None:
    leave_run(tmp_path, [1, 0, 0])
    write_thumbnails(run_of(tmp_path), lambda name: None if name == "0001.jpg" else grey(name))
    reader = page_of(tmp_path)
    assert len(shown(reader)) == 1
    assert "no picture" in reader.text
    assert [mistake.source is None for mistake in shown_mistakes(run_of(tmp_path))] == [True, False]


def test_without_mistakes_or_predictions_there_is_no_such_part(tmp_path: Path) -> None:
    leave_run(tmp_path, [1, 1])
    assert "worst mistakes" not in page_of(tmp_path).text
    leave_run(tmp_path, [1, 0])
    (tmp_path / "test_predictions.csv").unlink()
    assert "worst mistakes" not in page_of(tmp_path).text


@pytest.mark.parametrize("name", ["confusion_matrix", "learning_curves"])
def test_a_figure_that_fails_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such font")

    leave_run(tmp_path, [1, 0])
    page_of(tmp_path)
    monkeypatch.setattr(figures, name, fail)
    reader = page_of(tmp_path)
    assert len([place for place in reader.places if place.startswith("data:image/png")]) == 1
    assert f"{name}.png could not be made: RuntimeError: no such font" in caplog.text
    assert not (tmp_path / f"{name}.png").exists(), "an earlier figure would be taken for that of this run"


def test_what_others_wrote_is_escaped(tmp_path: Path) -> None:
    leave_run(tmp_path, [1, 0], command=NASTY, config={"text": NASTY})
    reader = page_of(tmp_path)
    assert "script" not in reader.tags
    assert reader.text.count(NASTY) == 2


def test_a_run_that_failed_has_a_page_with_the_whole_error(tmp_path: Path) -> None:
    write_result(tmp_path, make_failed(error="the disk is full\nsecond line"))
    text = text_of(page_of(tmp_path))
    assert "plain (seed 0) has no result: failed" in text
    assert "second line" in text


def test_several_inference_modes_are_behind_a_fold(tmp_path: Path) -> None:
    metrics = make_metrics(1, 2)
    leave_run(tmp_path, [1, 0], metrics={"val": {}, "test": {"as_trained": metrics, "mean": metrics}})
    text = text_of(page_of(tmp_path))
    assert text.index("All inference modes") < text.index("as_trained") < text.index("Classes")


@pytest.mark.parametrize("change", [lambda place: place.unlink(), lambda place: place.write_text("epoch\n0\n")])
def test_a_run_without_curves_has_a_page(tmp_path: Path, change: Callable[[Path], Any]) -> None:
    leave_run(tmp_path, [1, 0])
    change(tmp_path / "metrics.csv")
    assert "Training" not in page_of(tmp_path).text
