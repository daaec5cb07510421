"""The network as an ONNX file in float32."""

from pathlib import Path
from typing import Any

import torch

from fpcn_lightning.deploy.wrapper import OUTPUTS, DeployedNetwork
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.library_warnings import silenced

EXAMPLES = 2  # torch.export specialises to a batch of one


def write_onnx(deployed: DeployedNetwork, size: int, path: Path, opset: int) -> tuple[str, ...]:
    """Write the network for any number of pictures of `size` x `size` pixels, in one file.

    Returns:
        The names of its outputs.

    Raises:
        UserError: a package is missing, or ONNX does not support the network.
    """
    MissingPackage.check("task=export", "export")  # torch, which needs onnxscript, would raise an error of its own
    import onnx

    images = torch.zeros(EXAMPLES, size, size, 3, dtype=torch.uint8)
    with torch.no_grad():
        outputs = OUTPUTS[: len(deployed(images))]
    try:
        model = _to_onnx(deployed, images, outputs, opset)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"this network cannot be written as ONNX with export.opset={opset}: {reason}") from error
    written = next(each.version for each in model.opset_import if not each.domain)
    if written != opset:
        raise UserError(f"export.opset={opset} is not supported, torch wrote {written}: set export.opset={written}.")
    onnx.save(_without_sources(model), path)
    return outputs


def _to_onnx(deployed: DeployedNetwork, images: torch.Tensor, outputs: tuple[str, ...], opset: int) -> Any:
    """The model as a protobuf message, without the output of torch while it is made."""
    with silenced():
        program = torch.onnx.export(
            deployed,
            (images,),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    return program.model_proto


def _without_sources(model: Any) -> Any:
    """The model without the source lines of each node, which include paths of this machine."""
    del model.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.functions):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    return model
