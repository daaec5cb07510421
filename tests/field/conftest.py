"""A bundle that is fast to make: its network is a linear layer on the mean colour of a view."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from fpcn_lightning.field.manifest import CARD_NAME, LABELS_NAME, MANIFEST_NAME, SCHEMA

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
SIDE = 32
BRIGHT = 100  # of 255
CELL = 8  # pixels along an edge of what one place of the activation map sees

MakeBundle = Callable[..., Path]


def colour_network(
    classes: int = 3, side: int = SIDE, batch: str | int = "batch", *, masked: bool = False
) -> onnx.ModelProto:
    """Class k gets eight times the mean of colour k (0..1) as its logit; the score is the greatest probability.

    `masked` adds an object mask: places with one of the colours at `BRIGHT` or above.
    """
    weights = 8 * np.eye(3, classes, dtype=np.float32) / 255
    cells = (side // CELL) ** 2
    kernel = np.broadcast_to(weights.T[:, :, None, None] / (cells * CELL**2), (classes, 3, CELL, CELL))
    tensors = {"kernel": np.ascontiguousarray(kernel, np.float32), "places": np.array([2, 3]), "last": np.array([1])}
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["activation_map"], strides=[CELL, CELL]),
        helper.make_node("ReduceSum", ["activation_map", "places"], ["logits"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities", "last"], ["score"], keepdims=0),
    ]
    shapes = {
        "probabilities": [batch, classes],
        "score": [batch],
        "activation_map": [batch, classes, side // CELL, side // CELL],
    }
    if masked:
        tensors["bright"] = np.array(8 * BRIGHT / 255 / cells, np.float32)
        nodes += [
            helper.make_node("ReduceMax", ["activation_map", "last"], ["brightest"], keepdims=0),
            helper.make_node("GreaterOrEqual", ["brightest", "bright"], ["inside"]),
            helper.make_node("Cast", ["inside"], ["object_mask"], to=TensorProto.FLOAT),
        ]
        shapes["object_mask"] = [batch, side // CELL, side // CELL]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, side, side, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(values, name) for name, values in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def described(model: bytes, **changes: Any) -> dict[str, Any]:
    """The entry of an ONNX file in a manifest."""
    return {
        "runtime": "onnxruntime",
        "precision": "fp32",
        "bytes": len(model),
        "sha256": hashlib.sha256(model).hexdigest(),
        "accuracy": 0.9,
        "agreement": 1.0,
        "threshold": 0.5,
        "quantiles": {"0.9": 0.6, "0.99": 0.9999},
        **changes,
    }


def write_bundle(
    folder: Path,
    classes: Sequence[str] = tuple(COLOURS),
    model: onnx.ModelProto | bytes | None = None,
    file: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a bundle; `file` changes the entry of its model file, `changes` the rest of the manifest."""
    folder.mkdir(parents=True)
    model = model or colour_network(len(classes))
    data = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(data)
    (folder / LABELS_NAME).write_text(json.dumps({"classes": list(classes)}), encoding="utf-8")
    (folder / CARD_NAME).write_text("# Colours\n\nTells red from green from blue.\n", encoding="utf-8")
    manifest = {
        "schema": SCHEMA,
        "name": "colours",
        "views": {"kind": "squashing", "resize": SIDE, "side": SIDE},
        "files": {"model.onnx": described(data, **(file or {}))},
        "default": "model.onnx",
        "activation_map": True,
        "temperature": 1.0,
        "score": "probability",
        "coverage": 0.95,
        "lineage": {"checkpoint": "best.ckpt", "seed": 0},
        "labels_sha256": hashlib.sha256((folder / LABELS_NAME).read_bytes()).hexdigest(),
        **changes,
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """`write_bundle` into a folder `bundle` of the test's own; keywords change the manifest."""

    def make(*arguments: Any, **changes: Any) -> Path:
        return write_bundle(tmp_path / "bundle", *arguments, **changes)

    return make


@pytest.fixture
def bundle_folder(make_bundle: MakeBundle) -> Path:
    """A bundle that predicts the colour of a picture: red, green or blue; grey is unknown."""
    return make_bundle()


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of a map are empty files: drawing them takes most of the time of a small map."""
    for name in ("draw_overview", "draw_sizes"):
        monkeypatch.setattr(f"fpcn_lightning.field.mapping.write.results.{name}", lambda path, *_: path.touch())


def paint(path: Path, colour: tuple[int, int, int] | str = "red", size: tuple[int, int] = (40, 30)) -> Path:
    """Save a picture of one colour, which is red, green, blue, or any other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, COLOURS.get(colour, colour) if isinstance(colour, str) else colour).save(path)
    return path
