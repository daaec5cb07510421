"""The processor of this machine, and which of its instructions make networks fast."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.cores import usable_cores

INFORMATION = Path("/proc/cpuinfo")  # of Linux
FLAGS = {
    "AVX2": "avx2",
    "AVX-512": "avx512f",
    "VNNI": "avx512_vnni",
    "AVX-VNNI": "avx_vnni",
    "bf16": "avx512_bf16",
    "AMX": "amx_tile",
    "AMX int8": "amx_int8",
    "AMX bf16": "amx_bf16",
}
"""Instruction sets by the name that is shown, as Linux calls them. VNNI and AMX int8 make int8 files fast, bf16 and AMX
bf16 mixed precision."""
IDLE = 0.5  # load of a core, above which other work disturbs what is measured


@dataclass(frozen=True)
class Processor:
    """What a machine computes with.

    Attributes:
        name: of the processor, as the system gives it.
        cores: that this process may use.
        flags: those of `FLAGS` that it has; None where the system does not say.
    """

    name: str
    cores: int
    flags: tuple[str, ...] | None

    @property
    def text(self) -> str:
        """As shown, such as `Xeon, 2 cores, AVX2, VNNI`."""
        flags = ("instruction sets not known",) if self.flags is None else self.flags
        return ", ".join([self.name, f"{self.cores} core{'' if self.cores == 1 else 's'}", *flags])


def processor() -> Processor:
    """The processor of this machine."""
    values = _information()
    name = values.get("model name") or platform.processor() or platform.machine() or "not known"
    known = set(values["flags"].split()) if "flags" in values else None
    flags = None if known is None else tuple(shown for shown, flag in FLAGS.items() if flag in known)
    return Processor(name, usable_cores(), flags)


def load_of_core() -> float | None:
    """Processes that compute or wait for a core, by cores, in the last minute; None where the system does not say."""
    if not hasattr(os, "getloadavg"):
        return None
    return round(os.getloadavg()[0] / usable_cores(), 2)


def _information() -> dict[str, str]:
    """The facts about the first core."""
    try:
        text = INFORMATION.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
