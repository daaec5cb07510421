"""How fast the files of a bundle are compared with PyTorch: one image at a time, one thread, all forms in turn.

    python experiments/deployment/benchmark.py [--backbone mobilenetv2_100] [--size 224] [--executorch]

The weights are random: they cost as much time as trained ones. Each form predicts once a round, so that a machine that
becomes slower meanwhile slows all of them, and the medians of their rounds are compared.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from fpcn_lightning.deploy import executorch_files
from fpcn_lightning.deploy.manifests import FLOAT, INT8, PHONE_FLOAT, PHONE_INT8
from fpcn_lightning.deploy.onnx_files import write_onnx
from fpcn_lightning.deploy.quantise import write_int8
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling.device import device_name

CLASSES, CALIBRATION_IMAGES, OPSET = 7, 100, 18
BASELINE = "PyTorch, eager"

Forms = dict[str, Callable[[NDArray[np.uint8]], object]]


def network(backbone: str, size: int) -> DeployedNetwork:
    """A network of random weights whose batch norms have seen some images."""
    torch.manual_seed(0)
    deployed = DeployedNetwork(Plain(CLASSES, size, backbone, pretrained=False), size)
    deployed.network.train()
    with torch.no_grad():
        deployed.logits(torch.from_numpy(noise(8, size)))
    return deployed.eval()


def noise(count: int, size: int) -> NDArray[np.uint8]:
    """Images of random pixels, uint8 [count, size, size, 3]."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def eager(deployed: DeployedNetwork) -> Callable[[NDArray[np.uint8]], object]:
    """PyTorch in eager mode."""

    def predict(images: NDArray[np.uint8]) -> object:
        with torch.inference_mode():
            return deployed(torch.from_numpy(images))

    return predict


def onnx_file(path: Path) -> Callable[[NDArray[np.uint8]], object]:
    """onnxruntime with one thread."""
    import onnxruntime  # not before our package, which switches its telemetry off

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def all_forms(deployed: DeployedNetwork, size: int, folder: Path, *, executorch: bool) -> Forms:
    """Every form by its name; the files are written to `folder`."""
    calibration = noise(CALIBRATION_IMAGES, size)
    write_onnx(deployed, size, folder / FLOAT, OPSET)
    write_int8(folder / FLOAT, folder / INT8, calibration)
    last = copy.deepcopy(deployed).to(memory_format=torch.channels_last)
    forms: Forms = {BASELINE: eager(deployed), "PyTorch, channels last": eager(last)}
    forms |= {name: onnx_file(folder / name) for name in (FLOAT, INT8)}
    if executorch:
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        _unsafe_reset_threadpool(1)
        executorch_files.write_pte(deployed, size, folder / PHONE_FLOAT)
        executorch_files.write_int8_pte(deployed, calibration, folder / PHONE_INT8)
        forms |= {name: executorch_files.load_pte(folder / name) for name in (PHONE_FLOAT, PHONE_INT8)}
    return forms


def seconds(forms: Forms, size: int, rounds: int) -> dict[str, float]:
    """The median of each form's rounds, without the first tenth."""
    image = noise(1, size)
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, predict in forms.items():
            began = time.perf_counter()
            predict(image)
            taken[name].append(time.perf_counter() - began)
    return {name: median(values[rounds // 10 :]) for name, values in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--size", type=int, default=224, help="of the images, pixels")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--executorch", action="store_true", help="its files as well")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    deployed = network(chosen.backbone, chosen.size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forms = all_forms(deployed, chosen.size, folder, executorch=chosen.executorch)
        taken = seconds(forms, chosen.size, chosen.rounds)
        print(f"{chosen.backbone}, {chosen.size} px, {device_name()}, median of {chosen.rounds} rounds")
        for form, each in taken.items():
            file = folder / form
            megabytes = f"{file.stat().st_size / 1e6:6.2f} MB" if file.is_file() else " " * 9
            print(f"{form:24s} {1e3 * each:7.2f} ms {taken[BASELINE] / each:5.2f} x {megabytes}")


if __name__ == "__main__":
    main()
