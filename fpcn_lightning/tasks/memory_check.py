"""Refuses a batch that the memory cannot hold, before the system kills the process without a word."""

from dataclasses import replace

from fpcn_lightning.config import Config
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.profiling.step_memory import free_memory, step_memory
from fpcn_lightning.tasks.budget import device_of

GIGABYTE = 1e9
HALF = 2  # mixed precision keeps most tensors in two bytes instead of four
NAMES = {"cpu": "machine", "cuda": "GPU"}


def check_memory(config: Config, network: Network, data: RockDataModule) -> None:
    """Compare what a training step needs at least with what is free.

    It is a lower bound: a batch that passes may still not fit.

    Raises:
        UserError: with the largest `data.batch_size` that the bound allows.
    """
    if isinstance(network, Probe):  # it is fitted without a training step
        return
    device = device_of(config)
    free = free_memory(device)
    size = data.augmentation.crop
    needed = None if free is None else step_memory(network, size)
    if free is None or needed is None:
        return
    if str(config.trainer.get("precision", "32")).startswith(("16", "bf16")):
        needed = replace(needed, image=max(1, needed.image // HALF))
    samples, classes = data.batch_shape()
    images = samples * classes
    if needed.bytes(images) <= free:
        return
    fits = needed.images(free)
    advice = f"set data.batch_size={fits} or less" if fits > 1 else "choose a smaller network"
    raise UserError(
        f"a training step on {images} images of {size} px needs at least {needed.bytes(images) / GIGABYTE:.1f} GB, and "
        f"{free / GIGABYTE:.1f} GB of the memory of the {NAMES[device.type]} are free: {advice}, or a smaller "
        "data.crop, or a larger training.frozen_share; trainer.accumulate_grad_batches makes up for smaller batches."
    )
