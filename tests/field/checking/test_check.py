"""`fpcn check`: accuracy, calibration, unknown and confusions on a user's own labels."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.checking.check import check
from fpcn_lightning.field.command import main
from tests.field.conftest import MakeBundle, paint
from tests.field.test_command import PROGRAM

GREY = (90, 90, 90)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Nine pictures of classes that the bundle knows, of which one has a wrong label and one is grey; and others."""
    folder = tmp_path / "my labels"
    for colour in ("red", "green", "blue"):
        for number in range(3):
            paint(folder / colour.upper() / f"{number}.png", colour)
    paint(folder / "RED" / "0.png", "green")
    paint(folder / "BLUE" / "0.png", GREY)
    paint(folder / "slate" / "a.png", GREY)
    paint(folder / "slate" / "b.png", "blue")
    (folder / "GREEN" / "text.jpg").write_text("no picture")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_numbers_on_own_labels(bundle_folder: Path, labelled: Path, tmp_path: Path) -> None:
    summary, page = check(bundle_folder, labelled, tmp_path / "found")
    assert [(count.label, count.pictures, count.right, count.unknown) for count in summary.labels][:2] == [
        ("red", 3, 2, 0),
        ("green", 3, 3, 0),
    ]
    assert (len(summary.known), len(summary.foreign), len(summary.unreadable)) == (9, 2, 1)
    assert summary.labels[3].label == "slate"
    assert summary.labels[3].unknown == 1
    assert summary.unknown == 1
    assert summary.confusion == [[2, 1, 0, 0], [0, 3, 0, 0], [0, 0, 2, 1], [0, 0, 1, 1]]
    confidence = [picture.confidence for picture in summary.known]
    # One bin for the colours, of which one is wrong, and one for the grey.
    colours = [value for value in confidence if value > 0.9]
    assert len(colours) == 8
    expected = abs(sum(colours) - 7) / 9 + abs(min(confidence) - (summary.right - 7)) / 9
    assert summary.calibration_error == pytest.approx(expected, abs=1e-6)
    assert [picture.prediction.path.name for picture in summary.worst(5)] == ["0.png"]
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") == 1
    assert "1 of 2 photographs with labels that the model does not know (slate) are called unknown" in text


def test_the_csv_has_a_line_for_each_photograph(bundle_folder: Path, labelled: Path, tmp_path: Path) -> None:
    check(bundle_folder, labelled, tmp_path / "found")
    found = {f"{row['label']}/{Path(row['path']).name}": row for row in rows(tmp_path / "found" / "check.csv")}
    assert len(found) == 12
    assert found["red/0.png"]["right"] == "false"
    assert float(found["red/0.png"]["probability_label"]) < 0.1
    assert found["red/1.png"]["right"] == "true"
    assert (found["slate/a.png"]["right"], found["slate/b.png"]["right"]) == ("true", "false")
    assert found["green/text.jpg"]["error"]


def test_labels_may_be_a_list(bundle_folder: Path, labelled: Path, tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("path;label\nmy labels/RED/1.png;Red\nmy labels/BLUE/1.png;green\n", encoding="utf-8")
    summary, _ = check(bundle_folder, source, tmp_path / "found")
    assert (summary.right, len(summary.known)) == (1, 2)


def test_results_are_not_replaced(bundle_folder: Path, labelled: Path, tmp_path: Path) -> None:
    check(bundle_folder, labelled, tmp_path / "found")
    with pytest.raises(UserError, match=r"already contains check\.csv and index\.html"):
        check(bundle_folder, labelled, tmp_path / "found")
    check(bundle_folder, labelled, tmp_path / "found", overwrite=True)


def test_photographs_of_no_known_class_have_no_accuracy(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paint(tmp_path / "others" / "slate" / "a.png", GREY)
    assert main(["check", str(bundle_folder), str(tmp_path / "others"), "--output", str(tmp_path / "found")]) == 0
    assert "there is no accuracy" in capsys.readouterr().out


def test_nothing_readable_is_exit_code_1(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "others" / "red").mkdir(parents=True)
    (tmp_path / "others" / "red" / "a.jpg").write_text("no picture")
    assert main(["check", str(bundle_folder), str(tmp_path / "others"), "--output", str(tmp_path / "found")]) == 1


def test_a_model_that_is_not_usable_says_so(
    make_bundle: MakeBundle, labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(not_usable=["too few pictures"])
    assert main(["check", str(bundle), str(labelled), "--output", str(tmp_path / "found")]) == 0
    assert capsys.readouterr().out.startswith("The model is not usable: too few pictures.")
    assert "too few pictures" in (tmp_path / "found" / "index.html").read_text(encoding="utf-8")
    assert rows(tmp_path / "found" / "check.csv")[0]["not_usable"] == "too few pictures"


def test_the_command_needs_no_package_of_the_training(bundle_folder: Path, labelled: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "check", str(bundle_folder), str(labelled)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "page: bundle-check/index.html" in done.stdout
    assert "photographs are classified correctly (95 % interval" in done.stdout


@pytest.mark.parametrize("module", ["jinja2", "onnxruntime", "PIL"])
def test_a_missing_package_is_one_sentence(bundle_folder: Path, labelled: Path, tmp_path: Path, module: str) -> None:
    """Where the package was installed without its dependencies."""
    program = f"import sys; sys.modules[{module!r}] = None\n{PROGRAM}"
    command = [sys.executable, "-c", program, "check", str(bundle_folder), str(labelled)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    sentence, *rest = done.stderr.splitlines()
    assert re.fullmatch(rf"fpcn: .*\b{module}\b.* not installed: pip install fpcn-lightning\.", sentence)
    assert [line for line in rest if not line.startswith("loaded: ")] == []
