"""The command line in a separate process: its exit code and its output."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fpcn_lightning.cli.help import help_text
from fpcn_lightning.cli.main import main
from fpcn_lightning.config import CONF
from fpcn_lightning.runs.results import read_result
from fpcn_lightning.tasks import explain


def command(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fpcn_lightning", *words], capture_output=True, text=True, cwd=folder, check=False
    )


def error_message(*words: str, folder: Path) -> str:
    """The error message of a command that fails; it must not contain a stack trace."""
    done = command(*words, folder=folder)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    sentences = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, done.stderr
    return sentences[0]


def photographs(folder: Path, **classes: int) -> Path:
    """Class folders with this many small pictures each, all different."""
    for label, count in classes.items():
        (folder / label).mkdir(parents=True)
        for number in range(count):
            colour = (10 * number, 3 * number, sum(label.encode()) % 256)
            Image.new("RGB", (32, 32), colour).save(folder / label / f"{number}.png")
    return folder


def test_help_and_the_config_are_shown(tmp_path: Path) -> None:
    shown = command("--cfg", "job", folder=tmp_path)
    assert shown.returncode == 0
    assert "samples_per_class: 14" in shown.stdout
    shown_help = command("--help", folder=tmp_path).stdout
    for group in {path.parent for path in CONF.rglob("*/*.yaml")}:
        names = sorted(path.stem for path in group.glob("*.yaml"))
        if group.name == "task":
            assert all(re.search(rf"^  {name} +[a-z]", shown_help, re.MULTILINE) for name in names)
        else:
            name = group.relative_to(CONF).as_posix()
            assert re.search(rf"^  \+?{name} +{' '.join(names)}$", shown_help, re.MULTILINE)
    assert "  +experiment " in shown_help


def test_the_help_of_a_group_has_a_line_for_each_choice(tmp_path: Path) -> None:
    for group in {path.parent for path in CONF.rglob("*/*.yaml")}:
        lines = help_text(["--help", group.relative_to(CONF).as_posix()]).splitlines()[1:]
        assert [line.split()[0] for line in lines] == sorted(path.stem for path in group.glob("*.yaml"))
        assert all(line.endswith((".", "?")) for line in lines), lines
    assert "did you mean model" in error_message("--help", "modle", folder=tmp_path)


def test_the_config_starts_with_the_most_used_keys(tmp_path: Path) -> None:
    shown = command("--cfg", "job", folder=tmp_path).stdout
    keys = re.findall(r"^(\w+):", shown, re.MULTILINE)
    assert keys[:7] == ["data", "model", "backbone", "pretrained", "optimizer", "lr_scheduler", "training"]


def test_a_shortcut_without_effect_is_one_sentence(tmp_path: Path) -> None:
    assert "backbone=resnet18 has no effect" in error_message("model=resnet50", "backbone=resnet18", folder=tmp_path)


def test_an_old_key_is_one_sentence(tmp_path: Path) -> None:
    assert "is called optimizer.lr now" in error_message("optimisation.learning_rate=0.1", folder=tmp_path)
    assert "recipe=mmal_net_authors" in error_message("model=mmal_net_own", folder=tmp_path)


def test_an_error_that_the_user_can_fix_is_one_sentence(tmp_path: Path) -> None:
    assert "did you mean data.root" in error_message("data.rooot=x", folder=tmp_path)
    assert "Could not find 'task/trian'" in error_message("task=trian", folder=tmp_path)
    assert "below a section that is null" in error_message("data=folder", "data.synthetic.size=9", folder=tmp_path)
    assert f"{tmp_path}/nowhere does not exist" in error_message("data=folder", "data.root=nowhere", folder=tmp_path)


@pytest.mark.slow
def test_error_of_a_class_with_too_few_images_names_it(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photos", basalt=8, marble=2)
    assert "class 'marble' has too few pictures: 2" in error_message(
        "trainer=smoke", "data=folder", f"data.root={root}", folder=tmp_path
    )
    failed = read_result(tmp_path / "outputs" / "smoke" / "single" / "fpcn" / "seed-0" / "result.json")
    assert failed["status"] == "failed"
    assert "marble" in str(failed["error"])


@pytest.mark.slow
def test_error_of_a_failed_download_names_alternatives(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photos", basalt=8, marble=8)
    words = ("trainer=smoke", "data=folder", f"data.root={root}", "model=plain", "model.backbone=resnet18")
    # A hub that does not exist simulates a machine without a network connection.
    done = subprocess.run(
        [sys.executable, "-m", "fpcn_lightning", *words, "model.pretrained=true"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={"HF_ENDPOINT": "https://hub.invalid", "HF_HOME": str(tmp_path / "hub"), "PATH": "", "HOME": str(tmp_path)},
    )
    assert done.returncode == 2, done.stderr
    assert "model.pretrained=false" in done.stderr
    assert "model.weights=FILE" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_process_trains_on_a_folder_with_a_text_file_among_the_images(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photos", basalt=20, marble=20)
    (root / "marble" / "notes.jpg").write_text("seen on Tuesday")
    done = command("trainer=smoke", "data=folder", f"data.root={root}", "model=plain", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "outputs" / "smoke" / "single" / "plain" / "seed-0"
    assert "notes.jpg" in (run / "refused.csv").read_text()
    assert read_result(run / "result.json")["status"] == "finished"


@pytest.mark.slow
def test_two_ranks_train_as_one_run_and_evaluate_every_image_once(rocks: Path, tmp_path: Path) -> None:
    words = ("trainer=smoke", "trainer.devices=2", "trainer.strategy=ddp_find_unused_parameters_true")
    limits = ("trainer.limit_val_batches=1.0", "trainer.limit_test_batches=1.0", "data.evaluation_batch_size=4")
    freeze = ("training.freeze_epochs=1", "data.samples_per_class=2")
    done = command(*words, *limits, *freeze, "data=folder", f"data.root={rocks}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "outputs").rglob("result.json")
    result = read_result(path)
    assert result["metrics"] is not None
    assert result["metrics"]["test"]["as_trained"]["images"] == 6
    assert len((path.parent / "test_predictions.csv").read_text().splitlines()) == 7
    assert done.stdout.count("run folder:") == 1


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")])
def test_a_signal_ends_any_task_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    number: signal.Signals,
    name: str,
) -> None:
    def run(config: object, invocation: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(explain, "run", run)
    monkeypatch.setattr(sys, "argv", ["fpcn_lightning", "task=explain", f"output={tmp_path}"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {name}; run the same command again.\n"


FAILS = """
import sys
from fpcn_lightning.cli.main import main
try:
    main()
except SystemExit as end:
    print(end.code, [name for name in ("torch", "lightning", "matplotlib") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "words",
    [
        ("data=folder", "data.root=nowhere"),
        ("task=audit", "data=folder", "data.root=nowhere", "model=probe"),
        ("task=evaluate", "checkpoint=nowhere"),
        ("task=export", "checkpoint=nowhere"),
        ("task=explain", "checkpoint=nowhere"),
    ],
    ids=lambda words: words[0],
)
def test_a_wrong_path_is_an_error_before_anything_slow_is_imported(tmp_path: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", FAILS, "backbone=resnet18", "pretrained=false", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "nowhere" in done.stderr
    assert done.stdout.splitlines()[-1] == "2 []"
