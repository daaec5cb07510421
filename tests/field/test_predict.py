"""Results on disk: every format, interrupted runs, and results that must not be lost."""

import csv
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from fpcn_lightning.data.images import ImageLimits
from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.field import predict as predict_module
from fpcn_lightning.field.classify import Prediction, classify
from fpcn_lightning.field.journal import Journal
from fpcn_lightning.field.predict import predict
from tests.field.conftest import MakeBundle, paint

SUFFIXES = (".csv", ".jsonl", ".json", ".parquet")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six files: two red, a green, a blue, a grey that is unknown, and a text."""
    folder = tmp_path / "photo graphs"
    for name, colour in (("1 ö", "red"), ("2, b", "red"), ("3=", "green"), ("sub/4", "blue"), ("5", (90, 90, 90))):
        paint(folder / f"{name}.png", colour)
    (folder / "0.jpg").write_text("no picture")
    return folder


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    text = path.read_text(encoding="utf-8")
    return list(map(json.loads, text.splitlines())) if path.suffix == ".jsonl" else list(json.loads(text))


def interrupt(after: int, *arguments: Any, **options: Any) -> None:
    """A run that is stopped as by Ctrl-C after this many predictions."""

    def stopped(*arguments: Any, **options: Any) -> Iterator[Prediction]:
        predictions = classify(*arguments, **options)
        yield from (next(predictions) for _ in range(after))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict_module, "classify", stopped)
        with pytest.raises(KeyboardInterrupt):
            predict(*arguments, **options)


@pytest.mark.parametrize("change", ["source", "recursive"])
def test_a_run_is_resumed_only_with_the_same_settings(
    bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = photographs.relative_to(tmp_path)
    interrupt(2, bundle_folder, source, "predictions.csv")
    other = {"source": photographs} if change == "source" else {"source": source, "recursive": False}
    with pytest.raises(UserError, match="unfinished results of another"):
        predict(bundle_folder, output="predictions.csv", **other)


def test_two_runs_at_once_do_not_write_one_file(bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "predictions.csv"
    refused: list[str] = []

    def second(*arguments: Any, **options: Any) -> Iterator[Prediction]:
        with pytest.raises(UserError, match="another process is writing") as caught:
            predict(bundle_folder, photographs, output, overwrite=True)
        refused.append(str(caught.value))
        return classify(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict_module, "classify", second)
        predict(bundle_folder, photographs, output)
    assert len(refused) == 1
    assert len(read(output)) == 6
    assert not list(tmp_path.glob(".*.lock"))


def test_the_results_of_a_folder(bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "predictions.csv"
    summary = predict(bundle_folder, photographs, output, top=1, coverage=0.9)
    assert (summary.pictures, summary.classes) == (6, {"red": 2, "green": 1, "blue": 1})
    assert (summary.unknown, summary.unreadable, summary.output) == (1, 1, output)
    rows = read(output)
    assert [Path(row["path"]).relative_to(photographs).as_posix() for row in rows] == [
        *("0.jpg", "1 ö.png", "2, b.png", "3=.png", "5.png", "sub/4.png")
    ]
    assert [row["class_1"] for row in rows] == ["", "red", "red", "green", "red", "blue"]
    assert [row["unknown"] for row in rows] == ["", "false", "false", "false", "true", "false"]
    assert [row["prediction_set"] for row in rows] == ["", "red", "red", "green", "", "blue"]
    assert rows[0]["error"] == "this is no picture of a known format"
    assert list(output.parent.iterdir()) == [output]


def test_every_format_has_the_same_rows(bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"predictions{suffix}" for suffix in SUFFIXES]
    for output in outputs:
        predict(bundle_folder, photographs, output, coverage=0.9)
    as_csv, *others = map(read, outputs)
    assert others[0] == others[1] == others[2]
    for texts, row in zip(as_csv, others[0], strict=True):
        assert list(texts) == list(row)
        assert (texts["path"], texts["class_1"] or None) == (row["path"], row["class_1"])
        assert float(texts["probability_2"] or 0) == (row["probability_2"] or 0)
    assert isinstance(others[0][1]["probability_1"], float)
    assert others[0][1]["prediction_set"] == ["red"]
    assert others[0][4]["unknown"] is True


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("torn", [0, 7], ids=["whole", "torn"])
def test_an_interrupted_run_is_resumed(
    bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, torn: int
) -> None:
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"predictions{suffix}"
    expected = predict(bundle_folder, photographs, whole)
    interrupt(3, bundle_folder, photographs, output)
    lines = output if suffix in (".csv", ".jsonl") else Path(f"{output}.part.jsonl")
    assert len(read(lines)) == 3
    if torn:
        lines.write_bytes(lines.read_bytes()[:-torn])
    classified: list[Path] = []

    def counted(model: Any, paths: Any, **options: Any) -> Iterator[Prediction]:
        classified.extend(paths)
        return classify(model, paths, **options)

    monkeypatch.setattr(predict_module, "classify", counted)
    summary = predict(bundle_folder, photographs, output)
    assert len(classified) == (4 if torn else 3)
    assert read(output) == read(whole)
    assert (summary.classes, summary.unknown, summary.unreadable) == (
        *(expected.classes, expected.unknown, expected.unreadable),
    )
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("left", [0, 5], ids=["nothing", "half a first line"])
def test_a_run_that_was_interrupted_at_once_is_resumed(
    bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    output = tmp_path / "predictions.csv"
    interrupt(0, bundle_folder, photographs, output)
    output.write_bytes(output.read_bytes()[:left])
    predict(bundle_folder, photographs, output)
    assert len(read(output)) == 6


def test_a_run_with_other_settings_is_refused(
    make_bundle: MakeBundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, output = make_bundle(), tmp_path / "predictions.csv"
    interrupt(2, bundle, photographs, output)
    before = output.read_bytes()
    for source, options in ((photographs, {"top": 2}), (photographs, {"coverage": 0.9}), (photographs / "sub", {})):
        with pytest.raises(UserError, match="another bundle, source or options"):
            predict(bundle, source, output, **options)
    shutil.rmtree(bundle)
    make_bundle(("rot", "grün", "blau"))
    with pytest.raises(UserError, match="another bundle, source or options"):
        predict(bundle, photographs, output)
    assert output.read_bytes() == before
    assert predict(bundle, photographs, output, overwrite=True).classes == {"rot": 2, "grün": 1, "blau": 1}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_finished_results_are_kept(bundle_folder: Path, photographs: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"predictions{suffix}"
    predict(bundle_folder, photographs, output)
    before = output.read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        predict(bundle_folder, photographs / "sub", output)
    assert output.read_bytes() == before
    predict(bundle_folder, photographs / "sub", output, overwrite=True)
    assert len(read(output)) == 1


def test_damaged_lines_are_refused(
    bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix, damage in ((".csv", b"a\n"), (".jsonl", b"7\n"), (".jsonl", b"\0\0\n"), (".jsonl", b'{"path": 1}\n')):
        output = tmp_path / f"predictions{suffix}"
        interrupt(1, bundle_folder, photographs, output, overwrite=True)
        output.write_bytes(output.read_bytes() + damage)
        with pytest.raises(UserError, match="is damaged"):
            predict(bundle_folder, photographs, output)


def test_the_source_is_not_overwritten(bundle_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "predictions.csv"
    source.write_text("path\na.jpg\n")
    with pytest.raises(UserError, match="the source itself"):
        predict(bundle_folder, source, source, overwrite=True)
    assert source.read_text() == "path\na.jpg\n"


def test_errors_are_reported_before_anything_is_written(
    bundle_folder: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("predictions.xlsx", {}, r"\.csv, \.jsonl, \.json, \.parquet"),
        ("predictions.csv", {"top": 0}, "top=0"),
        ("predictions.csv", {"batch_size": 0}, "batch_size=0"),
        ("predictions.csv", {"threads": -1}, "threads=-1"),
        ("predictions.csv", {"coverage": 0.5}, "coverage 0.5"),
        ("predictions.csv", {"file": "other.onnx"}, r"other\.onnx"),
        ("photo graphs/0.jpg/predictions.csv", {}, "cannot be written"),
    ]
    for name, options, message in wrong:
        with pytest.raises((UserError, WriteError), match=message):
            predict(bundle_folder, photographs, tmp_path / name, **options)
    monkeypatch.setattr(
        "fpcn_lightning.installation.find_spec", lambda name: None if name == "pyarrow" else find_spec(name)
    )
    with pytest.raises(UserError, match=r"fpcn-lightning\[parquet\]"):
        predict(bundle_folder, photographs, tmp_path / "predictions.parquet")
    assert not list(tmp_path.glob("predictions*"))


def test_files_beyond_the_limits_cost_themselves_alone(bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    paint(folder / "red.png", "red")
    paint(folder / "wide.png", "green", (2000, 600))
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "half.jpg")
    data = (folder / "half.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with (folder / "sparse.tif").open("wb") as file:
        file.truncate(8 * 10**9)
    output = tmp_path / "predictions.csv"
    predict(bundle_folder, folder, output, limits=ImageLimits(megapixels=1))
    with output.open(newline="", encoding="utf-8-sig") as table:
        rows = {Path(row["path"]).name: row for row in csv.DictReader(table)}
    assert rows["red.png"]["class_1"] == "red"
    assert "2000 x 600 pixels are more than the limit of 1 megapixels" in rows["wide.png"]["error"]
    assert "ends in the middle of the picture" in rows["half.jpg"]["error"]
    assert "8,000 megabytes are more than the limit" in rows["sparse.tif"]["error"]
    predict(bundle_folder, folder, tmp_path / "raised.csv", limits=ImageLimits(megapixels=2))
    assert "green" in (tmp_path / "raised.csv").read_text(encoding="utf-8")


def test_the_other_columns_of_a_list_are_kept(bundle_folder: Path, tmp_path: Path) -> None:
    for name in ("red", "blue"):
        paint(tmp_path / f"{name}.png", name)
    source = tmp_path / "list.csv"
    source.write_text(
        ',Sample ID,path,score,error\n0,S 1,red.png,7,none\n1,=2+3,blue.png,8,\n2,S 3,gone.png,9,"two\nlines"\n',
        encoding="utf-8",
    )
    predict(bundle_folder, source, tmp_path / "found.csv")
    rows = read(tmp_path / "found.csv")
    assert list(rows[0])[-4:] == ["column_1", "Sample ID", "list_score", "list_error"]
    assert [(row["Sample ID"], row["list_score"], row["class_1"]) for row in rows] == [
        ("S 1", "7", "red"),
        ("'=2+3", "8", "blue"),
        ("S 3", "9", ""),
    ]
    assert rows[2]["error"]
    assert rows[2]["list_error"] == "two lines"
    predict(bundle_folder, source, tmp_path / "found.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["Sample ID"] for line in lines] == ["S 1", "=2+3", "S 3"]
    pytest.importorskip("pyarrow")
    predict(bundle_folder, source, tmp_path / "found.parquet")


def test_an_interrupted_run_with_kept_columns_resumes(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("red", "blue"):
        paint(tmp_path / f"{name}.png", name)
    source = tmp_path / "list.csv"
    source.write_text("path,note\nred.png,first\nblue.png,second\n", encoding="utf-8")
    write = Journal.write

    def stopped(journal: Journal, row: dict[str, object]) -> None:
        write(journal, row)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "write", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(bundle_folder, source, tmp_path / "found.csv")
    monkeypatch.setattr(Journal, "write", write)
    predict(bundle_folder, source, tmp_path / "found.csv")
    assert [row["note"] for row in read(tmp_path / "found.csv")] == ["first", "second"]


def test_a_picture_that_is_listed_twice_is_classified_once(
    bundle_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paint(tmp_path / "red.png")
    source = tmp_path / "list.csv"
    source.write_text("path,note\nred.png,first\nred.png,first\nred.png,second\n", encoding="utf-8")
    predict(bundle_folder, source, tmp_path / "found.csv")
    assert [row["note"] for row in read(tmp_path / "found.csv")] == ["first"]
    assert "other values in 1 rows" in caplog.text
