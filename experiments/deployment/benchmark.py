"""How fast the files of a bundle are compared with PyTorch: one image at a time, one thread, all forms in turn.

    python experiments/deployment/benchmark.py [--backbone mobilenetv2_100] [--size 224] [--executorch]

The weights are random: they cost as much time as trained ones. Each form predicts once a round, so that a machine that
becomes slower meanwhile slows all of them, and the medians of their rounds are compared.
"""

import argparse
import copy
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import torch

from fpcn_lightning.deploy import executorch_files
from fpcn_lightning.deploy.manifests import FLOAT, INT8, PHONE_FLOAT, PHONE_INT8
from fpcn_lightning.deploy.onnx_files import write_onnx
from fpcn_lightning.deploy.quantise import write_int8
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling.device import device_name
from fpcn_lightning.profiling.inference import EAGER, LAST, Form, deployed, in_eager_mode, noise, onnx_file
from fpcn_lightning.profiling.rounds import interleaved

CLASSES, CALIBRATION_IMAGES, OPSET = 7, 100, 18

Forms = dict[str, Form]


def network(backbone: str, size: int) -> DeployedNetwork:
    """A network of random weights whose batch norms have seen some images."""
    torch.manual_seed(0)
    return deployed(Plain(CLASSES, size, backbone, pretrained=False), size)


def all_forms(made: DeployedNetwork, size: int, folder: Path, *, executorch: bool) -> Forms:
    """Every form by its name; the files are written to `folder`."""
    calibration = noise(CALIBRATION_IMAGES, size)
    write_onnx(made, size, folder / FLOAT, OPSET)
    write_int8(folder / FLOAT, folder / INT8, calibration)
    last = copy.deepcopy(made).to(memory_format=torch.channels_last)
    forms: Forms = {EAGER: in_eager_mode(made), LAST: in_eager_mode(last)}
    forms |= {name: onnx_file(folder / name) for name in (FLOAT, INT8)}
    if executorch:
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

        _unsafe_reset_threadpool(1)
        executorch_files.write_pte(made, size, folder / PHONE_FLOAT)
        executorch_files.write_int8_pte(made, calibration, folder / PHONE_INT8)
        forms |= {name: executorch_files.load_pte(folder / name) for name in (PHONE_FLOAT, PHONE_INT8)}
    return forms


def seconds(forms: Forms, size: int, rounds: int) -> dict[str, float]:
    """The median of each form's rounds, without the first tenth."""
    image, first = noise(1, size), rounds // 10
    taken = interleaved({name: partial(run, image) for name, run in forms.items()}, rounds - first, warm_up=first)
    return {name: median(values) for name, values in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--size", type=int, default=224, help="of the images, pixels")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--executorch", action="store_true", help="its files as well")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    made = network(chosen.backbone, chosen.size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        forms = all_forms(made, chosen.size, folder, executorch=chosen.executorch)
        taken = seconds(forms, chosen.size, chosen.rounds)
        print(f"{chosen.backbone}, {chosen.size} px, {device_name()}, median of {chosen.rounds} rounds")
        for form, each in taken.items():
            file = folder / form
            megabytes = f"{file.stat().st_size / 1e6:6.2f} MB" if file.is_file() else " " * 9
            print(f"{form:24s} {1e3 * each:7.2f} ms {taken[EAGER] / each:5.2f} x {megabytes}")


if __name__ == "__main__":
    main()
