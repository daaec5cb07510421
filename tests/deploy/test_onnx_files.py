"""Both ONNX files of one small network, run with onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from fpcn_lightning.deploy.onnx_files import write_onnx
from fpcn_lightning.deploy.quantise import write_int8
from fpcn_lightning.deploy.wrapper import OUTPUTS, DeployedNetwork
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.onnx_graph import graph_problem
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.plain import Plain

SIDE, OPSET = 64, 18


def pictures(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blocks of noise; unlike in fine noise, a network finds features in them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def outputs_of(path: Path, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    predictions: list[NDArray[np.float32]] = onnxruntime.InferenceSession(path).run(None, {"images": images})
    return predictions


@pytest.fixture(scope="module")
def deployed() -> DeployedNetwork:
    """A network with its own statistics in every batch normalisation, and confident."""
    torch.manual_seed(0)
    network = Plain(4, SIDE, "test_efficientnet", pretrained=False)
    wrapped = DeployedNetwork(network, SIDE)
    network.train()
    with torch.no_grad():
        for seed in range(10):
            wrapped.logits(torch.from_numpy(pictures(16, seed)))
    network.eval()
    with torch.no_grad():
        wrapped.distance.fit(wrapped.statistics(torch.from_numpy(pictures(100, seed=20))))
    wrapped.temperature = 0.02
    return wrapped


@pytest.fixture(scope="module")
def files(deployed: DeployedNetwork, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundle")
    found = {"fp32": folder / "model.onnx", "int8": folder / "model.int8.onnx"}
    assert write_onnx(deployed, SIDE, found["fp32"], OPSET) == OUTPUTS[:3]
    write_int8(found["fp32"], found["int8"], pictures(100, seed=20))
    assert sorted(folder.iterdir()) == sorted(found.values())  # and no other files
    assert [graph_problem(path.read_bytes()) for path in found.values()] == [None, None]
    return found


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_pictures_is_predicted_as_by_pytorch(
    count: int, deployed: DeployedNetwork, files: dict[str, Path]
) -> None:
    images = pictures(count, seed=30)
    with torch.no_grad():
        expected = deployed(torch.from_numpy(images))
    predictions = outputs_of(files["fp32"], images)
    assert len(predictions) == 3
    for prediction, wanted in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(prediction, wanted.numpy(), rtol=1e-3, atol=1e-5)


def test_int8_predicts_nearly_the_same_with_less_than_half_of_the_size(files: dict[str, Path]) -> None:
    images = pictures(64, seed=40)
    exact, rounded = (outputs_of(files[precision], images)[0] for precision in ("fp32", "int8"))
    assert 0.3 < exact.max(1).mean() < 0.999
    assert np.abs(exact - rounded).mean() < 0.02
    assert (exact.argmax(1) == rounded.argmax(1)).mean() > 0.9
    assert files["int8"].stat().st_size < files["fp32"].stat().st_size / 2


def test_small_and_sensitive_layers_are_not_quantised(files: dict[str, Path]) -> None:
    """The first three layers, one of which normalises, the two that make logits and activation map, and the score."""
    graph = onnx.load(files["int8"]).graph
    made = {output: node.op_type for node in graph.node for output in node.output}
    weighted = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    (projection,) = [node for node in weighted if "distance.axes" in node.input]
    weighted.remove(projection)
    floats = [made.get(node.input[1]) != "DequantizeLinear" for node in weighted]
    assert floats == [True] * 3 + [False] * (len(weighted) - 5) + [True] * 2
    assert len(weighted) > 10
    assert not of_score(graph) & {"QuantizeLinear", "DequantizeLinear"}


def of_score(graph: Any) -> set[str]:
    """The operators between the statistics of the maps, which are means, and the score."""
    made = {output: node for node in graph.node for output in node.output}
    pending, found = ["score"], set()
    while pending:
        node = made.get(pending.pop())
        if node is not None:
            found.add(node.op_type)
            pending += [] if node.op_type == "ReduceMean" else node.input
    assert {"MatMul", "Concat", "ReduceMean"} <= found
    return found


def test_int8_has_nearly_the_same_scores(files: dict[str, Path]) -> None:
    known, coarse = pictures(64, seed=40), pictures(64, seed=50)[:, ::8, ::8].repeat(8, axis=1).repeat(8, axis=2)
    coarse = np.tile(coarse[:, :16, :16], (1, 4, 4, 1))
    exact, rounded = (outputs_of(files[precision], known)[1] for precision in ("fp32", "int8"))
    other = outputs_of(files["int8"], coarse)[1]
    assert np.abs(rounded / exact - 1).mean() < 0.1
    assert (other < np.quantile(rounded, 0.05)).mean() > 0.9


def test_corrected_biases_restore_the_means(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration, images = pictures(100, seed=20), pictures(64, seed=40)
    monkeypatch.setattr("fpcn_lightning.deploy.quantise.correct_biases", lambda *_: None)
    write_int8(files["fp32"], tmp_path / "plain.onnx", calibration)
    exact, corrected, uncorrected = (
        outputs_of(path, images)[2].sum((2, 3)).mean(0)  # the mean of each logit
        for path in (files["fp32"], files["int8"], tmp_path / "plain.onnx")
    )
    assert np.abs(corrected - exact).max() < np.abs(uncorrected - exact).max()


def test_files_have_no_paths_of_this_machine(files: dict[str, Path]) -> None:
    here = str(Path(__file__).parents[2]).encode()
    for path in files.values():
        assert here not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()


def test_a_network_that_onnx_does_not_support_is_reported(
    deployed: DeployedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UserError, match=r"cannot be written as ONNX with export\.opset=18: no such operator$"):
        write_onnx(deployed, SIDE, tmp_path / "model.onnx", OPSET)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("inference_mode", ["as_trained", "masked", "mean"])
def test_the_fusion_of_pairs_is_in_the_file_only_where_it_is_used(inference_mode: str, tmp_path: Path) -> None:
    network = FPCN(4, SIDE, "test_efficientnet", pretrained=False, inference_mode=inference_mode)
    write_onnx(DeployedNetwork(network, SIDE), SIDE, tmp_path / "model.onnx", OPSET)
    names = {each.name for each in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert any("fusion" in name for name in names) == (inference_mode == "as_trained")


PRESETS: dict[str, dict[str, Any]] = {
    "fpcn": {"inference_mode": "unmasked", "contrast": False},
    "fpcn_gated": {},
    "fpcn_official, gated": {
        "gate": "residual",
        "alpha": "area",
        "pool_over": "map",
        "strict_threshold": True,
        "largest_component": True,
        "previous_block": True,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_maps_and_masks_of_both_files_are_those_of_pytorch(preset: str, tmp_path: Path) -> None:
    side = 4 * SIDE  # for maps of 4 x 4 places
    torch.manual_seed(0)
    deployed = DeployedNetwork(FPCN(4, side, "test_resnet", pretrained=False, **PRESETS[preset]), side)
    exact, rounded = tmp_path / "model.onnx", tmp_path / "model.int8.onnx"
    assert write_onnx(deployed, side, exact, OPSET) == OUTPUTS
    write_int8(exact, rounded, pictures(100, seed=20).repeat(4, axis=1).repeat(4, axis=2))
    images = pictures(8, seed=30).repeat(4, axis=1).repeat(4, axis=2)
    with torch.no_grad():
        expected = dict(zip(OUTPUTS, (output.numpy() for output in deployed(torch.from_numpy(images))), strict=True))
    assert 0 < expected["object_mask"].mean() < 1
    scale = np.abs(expected["activation_map"]).max()
    differences = []
    for path in (exact, rounded):
        assert graph_problem(path.read_bytes()) is None
        found = dict(zip(OUTPUTS, outputs_of(path, images), strict=True))
        differences.append(np.abs(found["activation_map"] - expected["activation_map"]) / scale)
        wrong = (found["object_mask"] != expected["object_mask"]).mean()
        assert wrong == 0 if path == exact else wrong < 0.1
    assert differences[0].max() < 1e-4
    assert differences[1].mean() < 0.02  # of int8: places at the edge of the mask flip
