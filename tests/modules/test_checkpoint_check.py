"""Checkpoints that somebody has made to do harm: refused in one sentence, without resolving or running anything."""

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from fpcn_lightning.errors import UserError
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.checkpoints import RECORD
from fpcn_lightning.modules.teacher import read_teacher
from tests.conftest import config_of


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """A whole checkpoint of an untrained network."""
    from fpcn_lightning import build

    settings = config_of("model=lenet", "data=folder", "data.root=photos", "data.crop=32", "variant=lenet")
    torch.manual_seed(0)
    network = build.network(settings.model, 3, 32)
    return {
        RECORD: checkpoints.make_record(settings, ("basalt", "gneiss", "marble"), "fingerprint").plain(),
        "state_dict": {f"network.{name}": values for name, values in network.state_dict().items()},
    }


def error_of(path: Path, content: object) -> str:
    torch.save(content, path)
    with pytest.raises(UserError) as caught:
        checkpoints.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message) < 600 + len(str(path))
    assert "\n" not in message
    return message


def changed(content: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    """The checkpoint with another value at a dotted key of its record."""
    section, _, name = key.rpartition(".")
    record = dict(content[RECORD])
    if section:
        record[section] = record[section] | {name: value}
    else:
        record[name] = value
    return content | {RECORD: record}


def nested(depth: int) -> dict[str, Any]:
    return {"teacher": nested(depth - 1)} if depth else {}


def shared(levels: int) -> list[Any]:
    """A few lists that would be 10 ** levels if they were followed."""
    return [shared(levels - 1)] * 10 if levels else []


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("variant", "${oc.env:HOME}", "record.variant.*stands for another value"),
        ("model.inference_mode", "${oc.env:HOME}", "record.model.inference_mode.*stands for another value"),
        ("teacher", {"a": [{"b": "${oc.env:HOME}"}]}, "stands for another value"),
        ("teacher", {"${oc.env:HOME}": 1}, "stands for another value"),
        ("teacher", nested(30), "nested too deeply"),
        ("teacher", {"a": shared(12)}, "more than 200,000 values"),
        ("teacher", {"a": torch.zeros(2)}, "Tensor, which is not plain data"),
        ("name", "x" * 100_000, "more than 4,096 characters"),
        ("seed", -1, "seed=-1 must not be negative"),
        ("seed", 10**30, "too large"),
        ("seed", "0", "record.seed"),
        ("data.crop", 0, "crop"),
        ("data.crop", -5, "crop"),
        ("data.crop", 10**9, "record.data.crop|data.crop"),
        ("data.crop_scale", ["a", "b"], "record.data.crop_scale.0"),
        ("data.resize", float("nan"), "record.data.resize"),
        ("model.more", 10**9, "record.model.more"),
        ("model.more", {"_target_": "os.system"}, "model.more"),
        ("classes", [], "1 to 10,000 names"),
        ("classes", ["basalt", 3], "record.classes.1"),
        ("classes", ["basalt", "basalt"], "a name twice"),
        ("classes", ["basalt", "=cmd()"], "spreadsheets"),
        ("classes", ["basalt", "a\x1b[2J"], "cannot be printed"),
        ("classes", [f"class {number}" for number in range(10_001)], "1 to 10,000 names"),
        ("split", None, "record.split"),
        ("data", [1, 2], "record.data|TypeError"),
    ],
)
def test_a_hostile_record_is_refused(
    key: str, value: object, reason: str, content: dict[str, Any], tmp_path: Path
) -> None:
    message = error_of(tmp_path / "best.ckpt", changed(content, key, value))
    assert re.search(reason, message), message
    assert os.environ["HOME"] not in message.replace(str(tmp_path), "")


def enlarged(stored: torch.Tensor) -> torch.Tensor:
    """A view of a few numbers as two terabytes of them."""
    return stored[:1].expand(2**39)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch about sparse tensors
@pytest.mark.parametrize(
    "values",
    [enlarged(torch.zeros(4)), torch.zeros(2**30, 2**30, layout=torch.sparse_coo), torch.zeros(3, device="meta")],
    ids=["strides", "sparse", "meta"],
)
def test_tensors_that_are_larger_than_the_file_are_refused(
    values: torch.Tensor, content: dict[str, Any], tmp_path: Path
) -> None:
    state = content["state_dict"] | {"network.head.bias": values}
    assert "more elements than are stored" in error_of(tmp_path / "best.ckpt", content | {"state_dict": state})


def test_a_compressed_file_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    path, packed = tmp_path / "plain.ckpt", tmp_path / "best.ckpt"
    state = content["state_dict"] | {"network.head.bias": torch.zeros(2**20)}
    torch.save(content | {"state_dict": state}, path)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    with pytest.raises(UserError, match="is compressed, and would need"):
        checkpoints.load(packed)


@pytest.mark.parametrize("state", [None, 3, [torch.zeros(2)], {1: torch.zeros(2)}, {"network.a": "text"}, {}])
def test_other_weights_than_tensors_by_name_are_refused(state: object, content: dict[str, Any], tmp_path: Path) -> None:
    error_of(tmp_path / "best.ckpt", content | {"state_dict": state})


def test_a_hostile_teacher_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(changed(content, "variant", "${oc.env:HOME}"), tmp_path / "best.ckpt")
    with pytest.raises(UserError, match=r"distillation\.teacher: .*stands for another value"):
        read_teacher(tmp_path / "best.ckpt")


@pytest.mark.parametrize(
    "change",
    [{"optimizer_states": 3}, {"optimizer_states": [3]}, {"epoch": -1}, {"epoch": "0"}, {"loops": None}, {}],
)
def test_a_training_resumes_from_a_whole_state_only(
    change: dict[str, Any], content: dict[str, Any], tmp_path: Path
) -> None:
    state = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "loops": {}, "callbacks": {}}
    whole = content | state | {"optimizer_states": [{}], "lr_schedulers": []}
    path = tmp_path / "last.ckpt"
    torch.save(whole, path)
    checkpoints.read(path, resumable=True)
    torch.save(whole | change if change else content, path)
    checkpoints.read(path)
    with pytest.raises(UserError, match="no training can resume"):
        checkpoints.read(path, resumable=True)
