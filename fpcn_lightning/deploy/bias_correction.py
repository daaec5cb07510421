"""Subtracts from the biases of convolutions what rounding their weights adds to the mean of their outputs.

Weights of seven or eight bits have an error of up to half a step, whose mean over the few weights of one channel is not
0. That shifts whole channels, which costs more accuracy than the noise (Nagel et al., ICCV 2019, section 4.2).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ModelInputs = dict[str, NDArray[np.uint8]]


class QuantisedConvolution(NamedTuple):
    """A quantised convolution: its bias, and the error of its weights."""

    name: str
    bias: str  # name of the initializer, int32
    step: FloatArray  # [O], scale of the bias
    error: FloatArray  # [O, I / groups, kh, kw], weights minus quantised weights
    groups: int


def correct_biases(source: Path, quantised: Path, batches: Iterator[ModelInputs]) -> None:
    """Correct the biases of a quantised file in place.

    Args:
        source: the file in float32 that it was made from.
        quantised: in QDQ form.
        batches: inputs of `source` for the mean input of each convolution.
    """
    import onnx

    model = onnx.load(quantised)
    convolutions = _quantised_convolutions(onnx.load(source), model)
    if not convolutions:
        return
    means = _mean_inputs(source, [convolution.name for convolution in convolutions], batches)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    for convolution in convolutions:
        bias = onnx.numpy_helper.to_array(initializers[convolution.bias])
        shift = _shift(convolution, means[convolution.name]) / convolution.step
        corrected = onnx.numpy_helper.from_array((bias + np.rint(shift)).astype(np.int32), convolution.bias)
        initializers[convolution.bias].CopyFrom(corrected)
    onnx.save(model, quantised)


def _shift(convolution: QuantisedConvolution, mean: FloatArray) -> FloatArray:
    """The error of the mean [O] of the output for a mean input [I]; padding at the edges is ignored."""
    summed = convolution.error.sum((2, 3))
    inputs = mean.reshape(convolution.groups, -1).repeat(len(summed) // convolution.groups, axis=0)
    shift: FloatArray = (summed * inputs).sum(1)
    return shift


def _quantised_convolutions(source: Any, quantised: Any) -> list[QuantisedConvolution]:
    from onnx.numpy_helper import to_array

    weights = {node.name: node.input[1] for node in source.graph.node if node.op_type == "Conv"}
    exact = {tensor.name: tensor for tensor in source.graph.initializer}
    values = {tensor.name: tensor for tensor in quantised.graph.initializer}
    made = {node.output[0]: node for node in quantised.graph.node if node.op_type == "DequantizeLinear"}
    found = []
    for node in quantised.graph.node:
        if node.op_type != "Conv" or len(node.input) < 3 or node.input[1] not in made or node.input[2] not in made:
            continue
        weight, scale = (to_array(values[name]) for name in made[node.input[1]].input[:2])
        bias, step = made[node.input[2]].input[:2]
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        error = to_array(exact[weights[node.name]]) - weight * scale.reshape(-1, 1, 1, 1)
        found.append(QuantisedConvolution(node.name, bias, to_array(values[step]), error, groups))
    return found


def _mean_inputs(source: Path, names: list[str], batches: Iterator[ModelInputs]) -> dict[str, FloatArray]:
    """The mean [I] of each channel of the inputs of convolutions."""
    import onnx
    import onnxruntime

    model = onnx.load(source)
    inputs = {node.name: node.input[0] for node in model.graph.node}
    axes = onnx.numpy_helper.from_array(np.array([0, 2, 3]), "mean_axes")
    model.graph.initializer.append(axes)
    for name in names:
        output = f"{name}_mean_input"
        model.graph.node.append(onnx.helper.make_node("ReduceMean", [inputs[name], axes.name], [output], keepdims=0))
        model.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = [f"{name}_mean_input" for name in names]
    results = [session.run(outputs, batch) for batch in batches]
    return {name: np.mean(means, axis=0) for name, means in zip(names, zip(*results, strict=True), strict=True)}
