"""How much memory a training step needs at least, computed without taking it, and how much is free."""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fpcn_lightning.models.network import Network

MEMORY_INFORMATION = Path("/proc/meminfo")  # of Linux
CGROUP = Path("/sys/fs/cgroup")  # version 2; the limits of a container, of Slurm


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a step needs at least: what the backward pass reads again, and the gradients of the weights.

    Temporary tensors, the state of the optimiser and other processes come on top of it.

    Attributes:
        image: kept of each image between the forward and the backward pass.
        gradients: of the weights that are trained.
    """

    image: int
    gradients: int

    def bytes(self, images: int) -> int:
        """Of a batch of this size."""
        return images * self.image + self.gradients

    def images(self, free: int) -> int:
        """The largest batch whose minimum is not above these free bytes."""
        return max(0, free - self.gradients) // self.image


def step_memory(network: Network, image_size: int, images: int = 2) -> StepMemory | None:
    """The memory of a training step in float32, from the forward pass of a copy of the network that has no values.

    None where this pass needs values, as the networks with bilinear pooling do.

    Args:
        network: not changed. What is frozen in it needs no gradients, and keeps less.
        image_size: of the views of the training.
        images: of the batch that is looked at; two of them are the least that batch normalisation takes.
    """
    on_meta = copy.deepcopy(network).to("meta").to(memory_format=torch.channels_last).train()
    weights = {_storage(tensor) for tensor in (*on_meta.parameters(), *on_meta.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # a storage that is kept alive has a number of its own

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in weights:
            kept[_storage(tensor)] = tensor.untyped_storage()
        return tensor

    batch = torch.empty(images, 3, image_size, image_size, device="meta").contiguous(memory_format=torch.channels_last)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            on_meta(batch)
    except (RuntimeError, NotImplementedError):  # what torch raises where a tensor of the meta device is read
        return None
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    return StepMemory(max(1, sum(storage.nbytes() for storage in kept.values()) // images), gradients)


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process can still have: of a GPU, or of the machine and its container; None if not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = [each for each in (_free_on_machine(), _free_in_container()) if each is not None]
    return min(known, default=None)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _free_on_machine() -> int | None:
    """Memory and swap that programs can have."""
    try:
        lines = MEMORY_INFORMATION.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest.split()}
    if "MemAvailable" not in values:
        return None
    return 1024 * (values["MemAvailable"] + values.get("SwapFree", 0))


def _free_in_container() -> int | None:
    """The limit of the container less what it uses, without the files that the system would drop."""
    try:
        limit = (CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((CGROUP / "memory.current").read_text(encoding="ascii"))
        statistics = (CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    files = next((int(line.split()[1]) for line in statistics if line.startswith("inactive_file ")), 0)
    return max(0, int(limit) - used + files)
