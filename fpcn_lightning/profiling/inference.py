"""How fast a network predicts one image: PyTorch in eager mode, and the exported files, in turns."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fpcn_lightning.deploy.manifests import FLOAT, INT8
from fpcn_lightning.deploy.onnx_files import write_onnx
from fpcn_lightning.deploy.quantise import write_int8
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.profiling.results import BenchmarkRow, missing
from fpcn_lightning.profiling.rounds import interleaved, ratios, spread, threads

PART = "inference"
UNIT = "ms an image"
EAGER, LAST = "PyTorch, eager", "PyTorch, channels last"
CALIBRATION_IMAGES = 16  # the time of an int8 file does not depend on them
CALIBRATED = 100  # for a file whose predictions count

Form = Callable[[NDArray[np.uint8]], object]


def deployed(network: Network, size: int) -> DeployedNetwork:
    """The network as it is exported, its batch norms after a batch of random pixels."""
    made = DeployedNetwork(network, size)
    made.network.train()
    with torch.no_grad():
        made.logits(torch.from_numpy(noise(8, size)))
    return made.eval()


def noise(count: int, size: int) -> NDArray[np.uint8]:
    """Images of random pixels, uint8 [count, size, size, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def in_eager_mode(network: DeployedNetwork, count: int = 1) -> Form:
    """PyTorch with so many threads."""

    def predict(images: NDArray[np.uint8]) -> object:
        with torch.inference_mode(), threads(count):
            return network(torch.from_numpy(images))

    return predict


def onnx_file(path: Path, count: int = 1) -> Form:
    """onnxruntime with so many threads."""
    import onnxruntime  # not before our package, which switches its telemetry off

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = count, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def exported(network: DeployedNetwork, size: int, folder: Path, opset: int, images: int) -> list[Path]:
    """The files of a bundle in float32 and int8.

    Raises:
        UserError: a package is missing, or ONNX does not support the network.
    """
    write_onnx(network, size, folder / FLOAT, opset)
    write_int8(folder / FLOAT, folder / INT8, noise(images, size))
    return [folder / FLOAT, folder / INT8]


def measure_inference(
    name: str, network: Network, size: int, rounds: int, counts: Sequence[int], folder: Path, opset: int
) -> Iterator[BenchmarkRow]:
    """Rows of eager mode and of both files, with each number of threads; each is compared with eager mode.

    Args:
        name: of the network, for the rows.
        network: is changed.
        size: height and width of the image, pixels.
        rounds: images that each form predicts.
        counts: numbers of threads.
        folder: for the files.
        opset: of ONNX.
    """
    made = deployed(network, size)
    try:
        files = exported(made, size, folder, opset, CALIBRATION_IMAGES)
    except UserError as error:
        files = []
        yield missing(PART, f"{name}, ONNX", UNIT, str(error))
    image = noise(1, size)
    for count in counts:
        suffix = f", {count} thread{'' if count == 1 else 's'}"
        reference = f"{name}, {EAGER}{suffix}"
        forms: dict[str, Form] = {reference: in_eager_mode(made, count)}
        last = copy.deepcopy(made).to(memory_format=torch.channels_last)
        forms[f"{name}, {LAST}{suffix}"] = in_eager_mode(last, count)
        forms |= {f"{name}, {path.name}{suffix}": onnx_file(path, count) for path in files}
        taken = interleaved({form: partial(run, image) for form, run in forms.items()}, rounds, max(1, rounds // 10))
        for form, seconds in taken.items():
            ratio = None if form == reference else ratios(seconds, taken[reference])
            value = spread([1000 * each for each in seconds])
            yield BenchmarkRow(PART, form, UNIT, value, ratio, reference if ratio else None)
