"""The processor's name and instruction sets, where the system gives them."""

from pathlib import Path

import pytest

from fpcn_lightning.profiling import processor as module
from fpcn_lightning.profiling.device import device_name
from fpcn_lightning.profiling.processor import processor

CPUINFO = """processor\t: 0
model name\t: Xeon: made up
flags\t\t: fpu avx2 avx512f avx512_vnni amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""


def test_the_instruction_sets_of_linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    monkeypatch.setattr(module, "INFORMATION", tmp_path / "cpuinfo")
    monkeypatch.setattr(module, "usable_cores", lambda: 2)
    assert processor().flags == ("AVX2", "AVX-512", "VNNI", "AMX", "AMX int8")
    assert processor().text == "Xeon: made up, 2 cores, AVX2, AVX-512, VNNI, AMX, AMX int8"
    assert "Xeon: made up" in device_name()


def test_a_system_that_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INFORMATION", tmp_path / "none")
    assert processor().flags is None
    assert processor().text.endswith("instruction sets not known")
