"""The network with int8 weights and feature maps: a quarter of the size, and faster on CPUs with support for it."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.deploy.bias_correction import correct_biases
from fpcn_lightning.deploy.wrapper import OUTPUTS
from fpcn_lightning.library_warnings import silenced
from fpcn_lightning.models.fake_quantisation import FLOAT_CONVOLUTIONS

BATCH = 8  # pictures
FIRST = 1 + FLOAT_CONVOLUTIONS  # layers with weights that are not quantised; the first one is the normalisation
WEIGHTED = ("Conv", "Gemm", "MatMul", "ConvTranspose")
QUANTISED = (*WEIGHTED, "Add", "Relu", "Clip", "MaxPool", "GlobalAveragePool", "AveragePool", "Concat")


def write_int8(source: Path, target: Path, pictures: NDArray[np.uint8]) -> None:
    """Quantise an ONNX file statically: feature maps to uint8, weights to int8 with a scale for each channel.

    The last layers stay in float32, since later layers cannot compensate their errors, and so do the first ones: they
    are the most sensitive, and too small to gain anything in size or time. So does what only the score is computed
    from.

    Args:
        source: the file in float32.
        target: the file to write.
        pictures: uint8 [N, S, S, 3] on which the ranges of the feature maps are measured.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with silenced(), tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        nodes = onnx.load(prepared).graph.node
        quantize_static(
            prepared,
            target,
            _calibration_reader(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=[*_float_layers(nodes), *_score_nodes(nodes)],
            extra_options={"TensorQuantOverrides": _seven_bits(nodes)},
        )
        correct_biases(prepared, target, _batches(pictures, "biases of int8"))


def _calibration_reader(pictures: NDArray[np.uint8]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class PictureReader(CalibrationDataReader):  # type: ignore[misc]
        """The pictures in batches."""

        def __init__(self) -> None:
            self.batches = _batches(pictures, "ranges of int8")

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(self.batches, None)

    return PictureReader()


def _batches(pictures: NDArray[np.uint8], description: str) -> Iterator[dict[str, NDArray[np.uint8]]]:
    for start in tqdm(range(0, len(pictures), BATCH), desc=description, disable=None, leave=False):
        yield {"images": pictures[start : start + BATCH]}


def _float_layers(nodes: Any) -> list[str]:
    """The layers that stay in float32: the first ones, and those without a later layer with weights."""
    weighted = [node for node in nodes if node.op_type in WEIGHTED]
    before_weights: dict[str, bool] = defaultdict(bool)  # by tensor: whether a layer with weights comes after it
    for node in reversed(nodes):
        before = node.op_type in WEIGHTED or any(before_weights[name] for name in node.output)
        for name in node.input:
            before_weights[name] |= before
    last = [node for node in weighted if not any(before_weights[name] for name in node.output)]
    return [node.name for node in (*weighted[:FIRST], *last)]


def _score_nodes(nodes: Any) -> list[str]:
    """The nodes that nothing but the score is computed from: few operations, whose small differences count."""
    needed, found = set(OUTPUTS) - {"score"}, []  # needed: tensors that another output is computed from
    for node in reversed(nodes):
        if needed.isdisjoint(node.output):
            found.append(node.name)
        else:
            needed.update(node.input)
    return found


def _seven_bits(nodes: Any) -> dict[str, list[dict[str, Any]]]:
    """Seven bits for weights that CPUs with AVX2 but without VNNI multiply in pairs and add in sixteen bits.

    With eight bits those sums overflow, so that one file would have different predictions on different computers.
    Depthwise convolutions, which lose most accuracy with coarse weights, are computed in another way.
    """
    from onnxruntime.quantization import QuantType

    rule = {"quant_type": QuantType.QInt8, "symmetric": True, "reduce_range": True, "axis": 0}
    dense = [node for node in nodes if node.op_type == "Conv" and not _is_grouped(node)]
    return {node.input[1]: [rule] for node in dense}


def _is_grouped(node: Any) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
