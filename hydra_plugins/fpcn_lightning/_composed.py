"""The jobs of a sweep as Hydra composes them; the underscore keeps Hydra from looking for plugins in here."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict


@dataclass(frozen=True)
class ComposedJob:
    """One job: number and name in the sweep, overrides, the whole config with Hydra's own part, run folder."""

    number: int
    name: str
    overrides: list[str]
    config: DictConfig
    folder: Path


def compose_jobs(
    context: HydraContext, sweep: DictConfig, batch: Sequence[Sequence[str]], first_number: int
) -> list[ComposedJob]:
    """Compose each job of a batch; `sweep` is the config of the sweep itself."""
    return [_compose(context, sweep, list(words), number) for number, words in enumerate(batch, first_number)]


def not_among(jobs: Sequence[ComposedJob], others: Sequence[ComposedJob]) -> list[ComposedJob]:
    """The jobs that are none of the others: those with another folder or another config."""
    known = [(other.folder, _own(other.config)) for other in others]
    return [job for job in jobs if (job.folder, _own(job.config)) not in known]


def _own(config: DictConfig) -> DictConfig:
    """The config without Hydra's part, where the words stand that led to it."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def _compose(context: HydraContext, sweep: DictConfig, overrides: list[str], number: int) -> ComposedJob:
    config = context.config_loader.load_sweep_config(sweep, overrides)
    with open_dict(config):
        config.hydra.job.id = str(number)
        config.hydra.job.num = number
    # `${hydra:...}` in the name of a folder asks the config of the running job.
    HydraConfig.instance().set_config(config)
    # Asked later, a variant that is named by it would be called like the job that was composed last.
    config.variant = config.variant
    folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
    name = Path(os.path.relpath(folder, sweep.hydra.sweep.dir)).as_posix()
    return ComposedJob(number, name, overrides, config, folder)
