"""Jobs on the machines of a Ray cluster, or on this one as Ray divides it (extra `ray`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.jobs import Ended, Job
from fpcn_lightning.sweep.processes import GRACE
from fpcn_lightning.sweep.remote import lost, run_here

if TYPE_CHECKING:
    from fpcn_lightning.sweep.overview import Overview


def run_on_ray(
    jobs: Sequence[Job], overview: "Overview", init: Mapping[str, Any], *, num_cpus: float, num_gpus: float
) -> list[Ended]:
    """Run every job once, as soon as a machine has room for it.

    Args:
        jobs: their folders are the same on every machine.
        overview: shows what happens.
        init: arguments of `ray.init`; those that are None are not passed.
        num_cpus: cores that one job takes.
        num_gpus: GPUs that one job takes, and the only ones that it sees.

    Returns:
        The jobs in the order in which they ended.

    Raises:
        KeyboardInterrupt: on Ctrl-C, after all that runs was interrupted.
        UserError: there is no such cluster, or Ray does not take these arguments.
    """
    init = {key: value for key, value in init.items() if value is not None}
    try:
        ray.init(**init)
    except (ConnectionError, ValueError) as error:
        raise UserError(f"Ray does not start with hydra.launcher.init={init}: {error}") from error
    if init.get("address") is None and num_gpus > ray.cluster_resources().get("GPU", 0):  # type: ignore[no-untyped-call]
        ray.shutdown()
        raise UserError(
            f"a job takes hydra.launcher.num_gpus={num_gpus}, more than this machine has, and would wait forever: set "
            "hydra.launcher.num_gpus=0 for trainer=cpu, or hydra.launcher.init.address to a cluster."
        )
    # No retries: Ray would run a killed job three more times. One job for each worker, so that nothing survives it.
    task = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=0, max_calls=1)(run_here)
    waiting = {task.remote(job, Path.cwd()): job for job in jobs}
    ended: list[Ended] = []
    try:
        with overview.shown(len(jobs), None):
            while waiting:
                done, _ = ray.wait(list(waiting), timeout=1.0)
                for each in done:
                    ended.append(_end(each, waiting.pop(each)))
                    overview.ended(ended[-1])
                overview.refresh()
        return ended
    finally:
        for each in waiting:
            ray.cancel(each)
        if waiting:
            ray.wait(list(waiting), num_returns=len(waiting), timeout=GRACE)
        ray.shutdown()


def _end(reference: "ray.ObjectRef[Ended]", job: Job) -> Ended:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        return lost(job, error)
