"""Each case is a process of its own, because the setting cannot be taken back."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from fpcn_lightning.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.set_num_threads(1)
torch.manual_seed(0)
first, second = torch.nn.Conv2d(3, 64, 3), torch.nn.Conv2d(64, 8, 3)
network = torch.nn.Sequential(first, torch.nn.BatchNorm2d(64), torch.nn.ReLU(), second)
images = torch.rand(8, 3, 96, 96)
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
for step in range(8):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    optimizer.zero_grad()
    network(images).square().mean().backward()
    optimizer.step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]).numpy().tobytes().hex())
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is one of the GNU C library")


def faults_and_weights(mode: str) -> tuple[int, str]:
    printed = subprocess.run([sys.executable, "-c", STEPS, mode], capture_output=True, text=True, check=True).stdout
    faults, weights = printed.split()
    return int(faults), weights


@glibc
def test_training_has_fewer_page_faults_and_the_same_weights() -> None:
    usual, kept = faults_and_weights("usual"), faults_and_weights("kept")
    assert kept[1] == usual[1]
    assert kept[0] < usual[0] / 4


def test_other_systems_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from fpcn_lightning.allocator import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
