"""Shares of one machine: a slot is some GPUs, or some cores, on which one job runs at a time."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fpcn_lightning.cores import usable_cores
from fpcn_lightning.errors import UserError


@dataclass(frozen=True)
class Slot:
    """One share of the machine.

    Attributes:
        number: from 0.
        environment: variables of a job in this slot, in addition to those of this process.
    """

    number: int
    environment: Mapping[str, str]


def make_slots(slots: int | None, gpus: Sequence[str], gpus_per_job: int, cores: int) -> list[Slot]:
    """Divide the machine.

    Args:
        slots: how many jobs run at a time; None: as many as the GPUs allow, one on a machine without GPUs.
        gpus: their numbers or names as in CUDA_VISIBLE_DEVICES; empty: the slots are shares of the cores.
        gpus_per_job: GPUs of one job; without GPUs, processes of one job.
        cores: processor cores of the machine, shared evenly unless OMP_NUM_THREADS is set.

    Raises:
        UserError: a number below one, or more slots than the GPUs allow.
    """
    for key, value in (("slots", slots), ("gpus_per_job", gpus_per_job)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"hydra.launcher.{key}={value} must be a whole number of at least 1.")
    possible = len(gpus) // gpus_per_job
    if gpus and possible < (slots or 1):
        raise UserError(
            f"{len(gpus)} GPUs with hydra.launcher.gpus_per_job={gpus_per_job} give {possible} slots: lower "
            f"gpus_per_job or hydra.launcher.slots={slots or 'null'}, or name more GPUs in hydra.launcher.gpus."
        )
    number_of_slots = slots or possible or 1
    threads = str(max(1, cores // number_of_slots // gpus_per_job))
    shared = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": threads}
    groups = [gpus[first : first + gpus_per_job] for first in range(0, possible * gpus_per_job, gpus_per_job)]
    return [
        Slot(number, shared | ({"CUDA_VISIBLE_DEVICES": ",".join(groups[number])} if gpus else {}))
        for number in range(number_of_slots)
    ]


def slots_for(
    accelerators: Iterable[str], *, slots: int | None, gpus: Sequence[int | str] | None, gpus_per_job: int
) -> list[Slot]:
    """Divide this machine for jobs with these `trainer.accelerator`s, as `hydra.launcher` says.

    GPUs are looked for, which takes seconds, only if none are named and some job may use one.
    """
    if gpus is None:
        gpus = [] if set(accelerators) <= {"cpu"} else visible_gpus()
    return make_slots(slots, [str(gpu) for gpu in gpus], gpus_per_job, usable_cores())


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    number = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(gpu) for gpu in range(number)] if named is None else named.split(",")[:number]
