"""The memory of a step: what autograd keeps, found without values, and what the system says is free."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fpcn_lightning.models.bilinear_cnn import BilinearCNN
from fpcn_lightning.models.plain import Plain
from fpcn_lightning.profiling import step_memory as module
from fpcn_lightning.profiling.step_memory import StepMemory, free_memory, step_memory

CPU = torch.device("cpu")


def small() -> Plain:
    return Plain(3, 32, "test_resnet", pretrained=False)


def really_kept(network: Plain, images: int) -> int:
    """Bytes of the tensors that a real forward pass keeps for the backward pass."""
    network.to(memory_format=torch.channels_last).train()
    weights = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = torch.rand(images, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(batch)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def test_it_is_what_a_real_forward_pass_keeps() -> None:
    found = step_memory(small(), 32)
    assert found is not None
    assert found.gradients == 4 * sum(parameter.numel() for parameter in small().parameters())
    for images in (2, 8):
        # Statistics of batch normalisation are kept once, not for each image.
        assert found.image * images == pytest.approx(really_kept(small(), images), rel=0.02)


def test_the_network_is_not_changed_and_frozen_stages_keep_less() -> None:
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    whole = step_memory(network, 32)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    for parameter in network.trunk.parameters():
        parameter.requires_grad_(False)
    frozen = step_memory(network, 32)
    assert whole is not None
    assert frozen is not None
    assert frozen.image < whole.image / 10
    assert frozen.gradients == 4 * sum(parameter.numel() for parameter in network.head.parameters())


def test_a_network_that_reads_values_has_none() -> None:
    assert step_memory(BilinearCNN(3, 32, "test_resnet", pretrained=False), 32) is None


def test_the_largest_batch() -> None:
    memory = StepMemory(image=10, gradients=5)
    assert memory.bytes(4) == 45
    assert (memory.images(45), memory.images(44), memory.images(3)) == (4, 3, 0)


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a system with 100 kB for programs and 20 kB of swap, without a container."""
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemAvailable:   100 kB\nSwapFree: 20 kB\nHugePages_Total: 0\n")
    monkeypatch.setattr(module, "MEMORY_INFORMATION", tmp_path / "meminfo")
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    return tmp_path


@pytest.mark.parametrize(("limit", "free"), [("max", 120 * 1024), ("50000", 50000 - 30000 + 8000), ("999999", 122880)])
def test_the_container_limits_what_is_free(limit: str, free: int, system: Path) -> None:
    (system / "memory.max").write_text(f"{limit}\n")
    (system / "memory.current").write_text("30000\n")
    (system / "memory.stat").write_text("anon 22000\ninactive_file 8000\n")
    assert free_memory(CPU) == free


def test_without_a_container_the_machine_counts_and_without_both_nothing_is_known(system: Path) -> None:
    assert free_memory(CPU) == 120 * 1024
    (system / "meminfo").unlink()
    assert free_memory(CPU) is None
