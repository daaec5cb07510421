"""A network from outside the package needs one Python file and one yaml file, as the README says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpcn_lightning.runs.results import Result, read_result

NETWORK = """
from torch import nn

from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.network import NetworkOutput, Network


class Toy(Network):
    mean, std, weights_source = (0.5,) * 3, (0.5,) * 3, "random"

    def __init__(self, classes, image_size, width=4):
        super().__init__()
        self.feature_dim = width
        self.body = nn.Sequential(nn.Conv2d(3, width, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(width, classes)

    @property
    def trunk(self):
        return self.body

    def predict(self, images):
        return NetworkOutput({"plain": self.head(self.body(images))})

    def views(self, images, labels):
        features = self.body(images)
        logits = self.head(features)
        return Views(logits, labels, logits, features)
"""
YAML = "# @package _global_\nvariant: toy\nmodel:\n  _target_: toy_network.Toy\n  width: 4\n"


def _program(place: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "fpcn_lightning", *words, "trainer=smoke", "data.synthetic.images_per_class=6"]
    line += ["data.synthetic.size=48"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(line, capture_output=True, text=True, cwd=place, env=environment, check=False)


def _result(done: "subprocess.CompletedProcess[str]", folder: Path) -> Result:
    assert done.returncode == 0, done.stderr
    return read_result(folder / "result.json")


@pytest.mark.slow
def test_a_network_from_outside_trains_sweeps_and_is_tested(tmp_path: Path) -> None:
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "toy_network.py").write_text(NETWORK)
    (tmp_path / "mine" / "model" / "toy.yaml").write_text(YAML)
    place = ("--config-dir", "mine")
    outputs = tmp_path / "outputs" / "smoke"

    swept = _program(
        tmp_path,
        *place,
        "-m",
        "model=toy",
        "model.width=4,5",
        "variant=toy-${model.width}",
        "name=wide",
        "loss.center.weight=0.1",
    )
    wide = _result(swept, outputs / "wide" / "toy-5" / "seed-0")
    network = wide["network"]
    assert network is not None
    assert network["parameters"] == 3 * 64 * 5 + 5 + 5 * 3 + 3

    checkpoint = outputs / "wide" / "toy-5" / "seed-0" / "checkpoints" / "best.ckpt"
    tested = _program(tmp_path, *place, "task=evaluate", f"checkpoint={checkpoint}")
    (written,) = (outputs / "evaluations").rglob("result.json")
    again = _result(tested, written.parent)
    assert again["metrics"] is not None
    assert wide["metrics"] is not None
    assert again["metrics"]["test"] == wide["metrics"]["test"]

    exported = _program(tmp_path, "--config-dir=mine", "task=export", f"checkpoint={checkpoint}", "export.bundle=out")
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "out" / "bundle.json").is_file()

    # Without --config-dir the network of the checkpoint is unknown, and is not imported.
    refused = _program(tmp_path, "task=evaluate", f"checkpoint={checkpoint}")
    assert refused.returncode == 2
    assert "toy_network.Toy" in refused.stderr
    assert "pass --config-dir=FOLDER with its Python file and its model/NAME.yaml" in refused.stderr
