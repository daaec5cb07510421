"""The network as an ONNX file in float32."""

from pathlib import Path
from typing import Any

import torch

from fpcn_lightning.deploy.wrapper import OUTPUTS, Deployed
from fpcn_lightning.errors import UserError
from fpcn_lightning.library_warnings import silenced

EXAMPLES = 2  # a batch of one would be taken for the only size there is


def write_onnx(deployed: Deployed, side: int, path: Path, opset: int) -> bool:
    """Write the network for pictures of `side` x `side` pixels, any number of them, in one file.

    Returns:
        Whether it gives an activation map.

    Raises:
        UserError: a package is missing, or the network does what ONNX cannot say.
    """
    images = torch.zeros(EXAMPLES, side, side, 3, dtype=torch.uint8)
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch asks for it only when it is too late to say so in a sentence
    except ImportError as error:
        raise UserError(f"task=export needs {error.name}: pip install 'fpcn-lightning[export]'.") from error
    with torch.no_grad():
        outputs = OUTPUTS[: len(deployed(images))]
    try:
        model = _translated(deployed, images, outputs, opset)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"this network cannot be written as ONNX with export.opset={opset}: {reason}") from error
    written = next(each.version for each in model.opset_import if not each.domain)
    if written != opset:
        raise UserError(f"export.opset={opset} cannot be had, torch wrote {written}: set export.opset={written}.")
    onnx.save(_without_traces(model), path)
    return len(outputs) == len(OUTPUTS)


def _translated(deployed: Deployed, images: torch.Tensor, outputs: tuple[str, ...], opset: int) -> Any:
    """The model as ONNX's own message; torch thinks aloud while it makes it."""
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


def _without_traces(model: Any) -> Any:
    """Without the lines of code that each node came from, which name folders of this machine."""
    del model.metadata_props[:]
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.functions):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    return model
