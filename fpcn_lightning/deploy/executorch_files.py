"""The network as files for ExecuTorch with XNNPACK, for phones: one picture at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from fpcn_lightning.deploy.map_distance import MapDistance
from fpcn_lightning.deploy.predictions import PredictViews
from fpcn_lightning.deploy.wrapper import OUTPUTS, DeployedNetwork
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.library_warnings import silenced


def check_installed() -> None:
    """Check at the start that the packages are installed.

    Raises:
        UserError: the extra is missing.
    """
    MissingPackage.check("export.executorch=true", "executorch", ", or set it to false")


def write_pte(deployed: DeployedNetwork, size: int, path: Path) -> None:
    """Write the network in float32, for one picture of `size` x `size` pixels.

    Raises:
        UserError: ExecuTorch does not support the network.
    """
    with _translating():
        _lower(torch.export.export(_WithoutMask(deployed), _example(size)), path)


def write_int8_pte(deployed: DeployedNetwork, pictures: NDArray[np.uint8], path: Path) -> None:
    """Write the network with int8 weights and feature maps, scaled for each channel.

    Args:
        deployed: the network.
        pictures: uint8 [N, S, S, 3] on which the ranges of the feature maps are measured.
        path: file to write.

    Raises:
        UserError: ExecuTorch does not support the network.
    """
    with _translating():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        example = _example(pictures.shape[1])
        quantiser = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        quantiser.set_module_type(MapDistance, None)  # few operations, whose small differences count
        prepared: nn.Module = prepare_pt2e(torch.export.export(_WithoutMask(deployed), example).module(), quantiser)
        with torch.no_grad():
            for picture in tqdm(torch.from_numpy(pictures), desc="ranges of int8", disable=None, leave=False):
                prepared(picture[None])
        _lower(torch.export.export(convert_pt2e(prepared), example), path)


def load_pte(path: Path) -> PredictViews:
    """The file as a function of views [B, S, S, 3], which are computed one by one.

    Raises:
        UserError: ExecuTorch on this machine cannot run it.
    """
    with _translating():
        from executorch.runtime import Runtime

        method: Any = Runtime.get().load_program(path).load_method("forward")

    def predict(views: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        with _silent():
            # Cloned: the runtime writes the outputs for the next picture into the same memory.
            outputs = [[part.clone() for part in method.execute([view[None]])] for view in torch.from_numpy(views)]
        return tuple(torch.cat(parts).numpy() for parts in zip(*outputs, strict=True))

    return predict


class _WithoutMask(nn.Module):
    """A network without its object mask, of which no phone makes use and whose operators ExecuTorch may not have."""

    def __init__(self, deployed: DeployedNetwork) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs: tuple[torch.Tensor, ...] = self.deployed(images)
        return outputs[: OUTPUTS.index("object_mask")]


def _example(size: int) -> tuple[torch.Tensor]:
    return (torch.zeros(1, size, size, 3, dtype=torch.uint8),)


def _lower(program: Any, path: Path) -> None:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress the line that the runtime's mean operator writes to the error stream for every picture."""
    stderr = os.dup(2)
    try:
        with Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def _translating() -> Iterator[None]:
    """Silence the libraries, and turn their errors into a UserError."""
    try:
        with silenced():
            yield
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"this network cannot be written for ExecuTorch: {reason}. Set export.executorch=false."
        ) from error
