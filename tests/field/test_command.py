"""The command, mostly as a real process in which no package of the training can be imported."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from tifffile import TiffFile

from fpcn_lightning.data.images import ImageLimits
from fpcn_lightning.field import predict as predict_module
from fpcn_lightning.field.command import main
from fpcn_lightning.field.command_line import make_parser
from fpcn_lightning.field.console_text import summary_text
from fpcn_lightning.field.mapping.classify import windows as windows_module
from fpcn_lightning.field.predict import PredictionSummary
from tests.field.conftest import MakeBundle, paint

TRAINING = ("torch", "torchvision", "lightning", "pytorch_lightning", "timm", "hydra", "omegaconf", "onnx")
PROGRAM = f"""
import sys
for name in {TRAINING}:
    sys.modules[name] = None  # importing it now raises ImportError
from fpcn_lightning.field.command import main
code = main()
loaded = {{"numpy", "PIL", "onnxruntime", "tqdm", "gradio", "pyarrow"}} & set(sys.modules)
print("loaded:", *sorted(loaded), file=sys.stderr)
sys.exit(code)
"""

# Waits for 4.png until it is killed.
WAITING = f"""
import time
from fpcn_lightning.field import classify
read_file = classify.read_file
classify.read_file = lambda path: time.sleep(600) if path.name == "4.png" else read_file(path)
{PROGRAM}
"""


def fpcn(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in ("red", "green", "blue"):
        paint(tmp_path / "photographs" / f"{name}.png", name)
    return tmp_path / "photographs"


def test_a_folder_is_predicted_without_the_packages_of_the_training(
    bundle_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "text.jpg").write_text("no picture")
    done = fpcn("predict", "bundle", "photographs", "--sets", "0.9", folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()) == (0, ["loaded: PIL numpy onnxruntime tqdm"])
    assert done.stdout.splitlines()[0] == "4 pictures in predictions.csv"
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        *(["blue", "1"], ["green", "1"], ["red", "1"], ["(not", "readable)", "1"]),
    ]
    assert [row["path"] for row in rows(tmp_path / "predictions.csv")] == [
        f"photographs/{name}" for name in ("blue.png", "green.png", "red.png", "text.jpg")
    ]


def test_a_section_is_mapped_without_the_packages_of_the_training(bundle_folder: Path, tmp_path: Path) -> None:
    """Its file has an error that tifffile reports, which is not shown."""
    path = paint(tmp_path / "section.tif", "green", (80, 60))
    with TiffFile(path) as file:
        tags, first = len(file.pages.first.tags), file.pages.first.offset
    with path.open("r+b") as raw:  # the next picture is this one again
        raw.seek(first + 2 + 12 * tags)
        raw.write(first.to_bytes(4, "little"))
    done = fpcn("map", "bundle", "section.tif", "--um-per-px", "2.5", "--threads", "1", folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()) == (0, ["loaded: PIL numpy onnxruntime tqdm"])
    assert done.stdout.splitlines()[0] == "section.tif is mapped in section-map"
    assert done.stdout.splitlines()[3].split() == ["green", "100.0", "-", "-", "0.03", "1"]
    assert done.stdout == (tmp_path / "section-map" / "summary.txt").read_text(encoding="utf-8")


def test_help_loads_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from fpcn_lightning.field.command import main; main(['--help'])"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {*TRAINING, "numpy", "PIL", "onnxruntime", "tqdm", "gradio", "csv"}
    assert "fpcn predict rocks-bundle" in done.stdout


WAITS_FOR_FOURTH = """
import time
from fpcn_lightning.data.images import ImageReader
read = ImageReader.read
ImageReader.read = lambda self, path, shape: time.sleep(600) if path.name == "4.png" else read(self, path, shape)
"""


def test_a_killed_run_resumes(bundle_folder: Path, photographs: Path, tmp_path: Path) -> None:
    """It is killed while it waits for its fourth picture."""
    fourth = photographs / "4.png"
    names = ["red.png", "green.png", "blue.png", "4.png", "red.png", "grey.png"]
    lines = "".join(f"photographs/{name}\n" for name in names)
    (tmp_path / "list.csv").write_text(f"path\n{lines}", encoding="utf-8")
    words = ("predict", "bundle", "list.csv", "--batch-size", "1")
    output = tmp_path / "predictions.csv"
    process = subprocess.Popen([sys.executable, "-c", WAITS_FOR_FOURTH + PROGRAM, *words], cwd=tmp_path)
    while process.poll() is None and not (output.exists() and output.read_bytes().count(b"\n") == 4):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    paint(fourth, "green")
    paint(photographs / "grey.png", (90, 90, 90))
    (photographs / "red.png").unlink()  # already classified, so it is not read again
    done = fpcn(*words, folder=tmp_path)
    assert done.returncode == 0
    predictions = rows(output)
    assert [row["path"] for row in predictions] == [f"photographs/{name}" for name in dict.fromkeys(names)]
    assert [row["class_1"] for row in predictions[:4]] == ["red", "green", "blue", "green"]
    assert [row["unknown"] for row in predictions] == ["false"] * 4 + ["true"]
    assert [path.name for path in tmp_path.glob("predictions*")] == ["predictions.csv"]


def test_the_prediction_for_one_photograph_is_printed(
    bundle_folder: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "bundle", "photographs/red.png", "--top", "1", "--sets", "0.9"]) == 0
    assert capsys.readouterr().out.splitlines() == ["photographs/red.png", "  red  99.0%", "  prediction set: red"]
    paint(photographs / "grey.png", (90, 90, 90))
    assert main(["predict", "bundle", "photographs/grey.png"]) == 0
    assert "unknown" in capsys.readouterr().out
    assert not (tmp_path / "predictions.csv").exists()


def test_info_prints_what_a_bundle_knows(bundle_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(bundle_folder)]) == 0
    text = capsys.readouterr().out
    for part in (
        "red, green, blue",
        "90.0% of test pictures right",
        "threshold 0.5",
        "0.9, 0.99",
        "Tells red from green",
    ):
        assert part in text


def test_exit_codes_and_messages(
    make_bundle: MakeBundle,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle, text = str(make_bundle()), tmp_path / "text.jpg"
    text.write_text("no picture")
    monkeypatch.chdir(tmp_path)
    assert main(["predict", bundle, str(text)]) == 1
    assert main(["predict", bundle, str(text), "--output", "text.csv"]) == 1
    assert main(["predict", bundle, "nowhere"]) == 2
    assert main(["predict", str(photographs), str(text)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"fpcn: {photographs} is no bundle")
    for words in ([], ["predict", bundle], ["predict", bundle, str(text), "--top", "0"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)


def test_a_tilde_becomes_the_home_folder(
    make_bundle: MakeBundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    bundle = make_bundle().relative_to(tmp_path)
    source = photographs.relative_to(tmp_path)
    assert main(["predict", f"~/{bundle}", f"~/{source}", "--output=~/found.csv"]) == 0
    assert len(rows(tmp_path / "found.csv")) > 0


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.parametrize("command", ["predict", "map"])
def test_a_device_is_refused(
    command: str, make_bundle: MakeBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ("--output", str(tmp_path / "output"))
    assert main([command, str(make_bundle()), "/dev/zero", *output]) == 2
    assert capsys.readouterr().err.startswith("fpcn: /dev/zero")


def test_a_class_may_be_called_like_a_line_of_the_summary(tmp_path: Path) -> None:
    text = summary_text(
        PredictionSummary(tmp_path / "found.csv", {"(unknown)": 3, "granite": 2}, unknown=4, unreadable=0)
    )
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["(unknown)", "3"],
        ["granite", "2"],
        ["(unknown)", "4"],
    ]


def test_only_the_most_frequent_of_many_classes_are_printed(tmp_path: Path) -> None:
    many = {f"class {number}": 1000 - number for number in range(1000)}
    text = summary_text(PredictionSummary(tmp_path / "found.csv", many, unknown=7, unreadable=0)).splitlines()
    assert len(text) == 1 + 20 + 2
    assert text[20].split() == ["class", "19", "981"]
    assert text[21].split() == ["(980", "other", "classes)", str(sum(many.values()) - sum(range(981, 1001)))]
    assert text[22].split() == ["(unknown)", "7"]


def test_ctrl_c_says_how_to_resume(
    bundle_folder: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict_module, "classify", stopped)
    assert main(["predict", "bundle", "photographs"]) == 130
    assert "resumes" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "bundle", "photographs"]) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_are_like_ctrl_c(
    bundle_folder: Path,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    monkeypatch.chdir(photographs.parent)
    monkeypatch.setattr(predict_module, "classify", lambda *_, **__: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    assert main(["predict", str(bundle_folder), "photographs"]) == 128 + number
    assert "resumes" in capsys.readouterr().err
    assert signal.getsignal(number) == before


@pytest.mark.usefixtures("without_figures")
def test_mapping_can_be_stopped_and_reports_errors(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "section.tif", "green", (80, 60))
    with monkeypatch.context() as patched:
        patched.setattr(windows_module, "prefetch", stopped)
        assert main(["map", "bundle", "section.tif", "--threads", "1"]) == 130
    assert "resumes" in capsys.readouterr().err
    assert main(["map", "bundle", "section.tif", "--threads", "1"]) == 0
    assert main(["map", "bundle", "section.tif"]) == 2
    assert "fpcn: section-map already contains results" in capsys.readouterr().err
    assert main(["map", "bundle", "nothing.tif"]) == 2
    assert not (tmp_path / "nothing-map").exists()
    for words in (["--um-per-px", "0"], ["--um-per-px", "nan"], ["--um-per-px", "wide"], ["--window-px", "0"]):
        with pytest.raises(SystemExit, match="2"):
            main(["map", "bundle", "section.tif", *words])


@pytest.mark.usefixtures("without_figures")
def test_a_section_without_data_is_an_error_code(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("section.tif", compression="tiff_adobe_deflate")
    with TiffFile("section.tif") as file:
        offset = file.pages[0].dataoffsets[0]
    with Path("section.tif").open("r+b") as raw:
        raw.seek(offset)
        raw.write(b"\xff" * 8)
    assert main(["map", "bundle", "section.tif", "--threads", "1"]) == 1
    printed = capsys.readouterr()
    assert "100.0 % of the section has no data" in printed.out
    assert printed.err == "fpcn: nothing of section.tif could be read: it is damaged or transparent.\n"


def test_a_reader_that_has_read_enough_is_no_error(bundle_folder: Path) -> None:
    command = [sys.executable, "-c", "from fpcn_lightning.field.command import main; raise SystemExit(main())"]
    words = [*command, "info", str(bundle_folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_the_limits_of_a_photograph_are_options(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = paint(tmp_path / "red.png", "red", (300, 200))
    words = ["predict", str(bundle_folder), str(path)]
    assert main([*words, "--max-megapixels", "0.05"]) == 1
    assert "300 x 200 pixels are more than the limit of 0.05 megapixels" in capsys.readouterr().out
    assert main([*words, "--max-megabytes", "0.0001"]) == 1
    assert "limit of 0.0001 megabytes" in capsys.readouterr().out
    assert main(words) == 0


def test_the_options_have_the_defaults_of_the_limits() -> None:
    commands = ("predict", "check", "map", "serve", "info", "demo-photos")
    for command in ("predict", "check"):
        options = make_parser(dict.fromkeys(commands, lambda _: 0)).parse_args([command, "b", "s"])
        assert ImageLimits(options.max_megapixels, options.max_megabytes, options.max_seconds) == ImageLimits()
