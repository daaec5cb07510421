"""Composes the jobs of a sweep with Hydra."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fpcn_lightning.errors import UserError
from fpcn_lightning.sweep.jobs import ComposedJob
from fpcn_lightning.sweep.names import name_apart
from fpcn_lightning.sweep.rows import SweepRow, combine, narrow
from fpcn_lightning.sweep.run_sweep import ComposedSweep


@dataclass(frozen=True)
class SweepSection:
    """The section `hydra.sweeper`; its keys are described in `conf/hydra/sweeper/tabled.yaml`."""

    max_batch_size: int | None = None
    params: Mapping[str, object] | None = None
    rows: Sequence[Sequence[str]] | None = None
    first: Sequence[Sequence[str]] | None = None
    last: Sequence[Sequence[str]] | None = None


def compose_sweep(
    context: HydraContext, sweep: DictConfig, section: SweepSection, words: Sequence[str]
) -> ComposedSweep:
    """Compose every job of a sweep.

    Args:
        context: of Hydra.
        sweep: the config of the sweep itself.
        section: the section `hydra.sweeper` of that config.
        words: the overrides of the command line, without those of Hydra itself.

    Raises:
        UserError: two overrides set one key, or no row fits the overrides.
    """
    parser = OverridesParser.create(config_loader=context.config_loader)
    if section.max_batch_size is not None and section.max_batch_size < 1:
        raise UserError(f"hydra.sweeper.max_batch_size={section.max_batch_size} must be at least 1, or null.")
    first, last = (_listed(parser, words, jobs or ()) for jobs in (section.first, section.last))
    rows = _combinations(parser, section, words)
    composer = _Composer(context, sweep)
    rows = name_apart(rows, composer.jobs(rows, len(first)))
    numbered = composer.jobs([*first, *rows, *last], 0)
    of_rows, size = numbered[len(first) : len(numbered) - len(last)], section.max_batch_size or len(rows) or 1
    return ComposedSweep(
        folder=Path(sweep.hydra.sweep.dir),
        first=numbered[: len(first)],
        batches=[of_rows[start : start + size] for start in range(0, len(of_rows), size)],
        last=numbered[len(numbered) - len(last) :],
    )


def compose_jobs(
    context: HydraContext, sweep: DictConfig, batch: Sequence[Sequence[str]], first_number: int
) -> list[ComposedJob]:
    """Compose the jobs with these overrides; `sweep` is the config of the sweep itself."""
    return _Composer(context, sweep).jobs(batch, first_number)


def _combinations(parser: OverridesParser, section: SweepSection, words: Sequence[str]) -> list[list[str]]:
    """The overrides of each job: every combination of the params with every row."""
    params = parser.parse_overrides([f"{key}={value}" for key, value in (section.params or {}).items()])
    given = parser.parse_overrides(list(words))
    _check_repeated(given)
    rows = [row for overrides in section.rows or () for row in _expanded(parser.parse_overrides(list(overrides)))]
    in_both = {override.get_key_element() for override in params} & {key for row in rows for key in row}
    if in_both:
        raise UserError(f"{min(in_both)} is in hydra.sweeper.params and in hydra.sweeper.rows: keep one of them.")
    if rows:
        by_key = {override.get_key_element(): [*_words(override)] for override in given}
        rows = narrow(rows, by_key)
    return combine(_split([*params, *given]), rows)


def _check_repeated(given: Iterable[Override]) -> None:
    """Check that no key is set twice: one of the overrides would be ignored without a warning."""
    seen: dict[str, Override] = {}
    for override in given:
        twin = seen.setdefault(override.get_key_element(), override)
        if twin is not override:
            raise UserError(
                f"{twin.input_line} and {override.input_line} set the same key: keep one of them; several values are "
                f"written as {override.get_key_element()}=ONE,OTHER."
            )


def _listed(parser: OverridesParser, words: Sequence[str], listed: Sequence[Sequence[str]]) -> list[list[str]]:
    """The overrides of each job of `first` or `last`; those of the job have priority over those of the command line."""
    shared = [override for override in parser.parse_overrides(list(words)) if not override.is_sweep_override()]
    jobs = []
    for own in listed:
        chosen = parser.parse_overrides(list(own))
        # A key below a group that the job chooses, such as distillation.temperature, is not meant for this job.
        groups = tuple(f"{override.get_key_element()}." for override in chosen)
        fitting = [override for override in shared if not override.get_key_element().startswith(groups)]
        jobs += _split([*fitting, *chosen])
    return jobs


def _split(overrides: Sequence[Override]) -> list[list[str]]:
    """Every combination of the values; of two overrides for one key, the later one is used."""
    (jobs,) = BasicSweeper.split_arguments(list(overrides), None)
    return jobs


def _expanded(overrides: Sequence[Override]) -> list[SweepRow]:
    return [{word.partition("=")[0]: word for word in words} for words in _split(overrides)]


def _words(override: Override) -> Iterable[str]:
    return (word for (word,) in _split([override]))


class _Composer:
    """Composes the jobs of one sweep; jobs that differ in plain values alone are composed once.

    Composing a job takes 0.2 to 0.6 s and copying a config a tenth of it, so that the values are set in one config, job
    by job. A job keeps plain data of it.
    """

    def __init__(self, context: HydraContext, sweep: DictConfig) -> None:
        self._loader = context.config_loader
        self._sweep = sweep
        self._parse = cache(OverridesParser.create(config_loader=context.config_loader).parse_override)
        self._composed: dict[tuple[str, ...], tuple[DictConfig, Any]] = {}

    def jobs(self, batch: Sequence[Sequence[str]], first_number: int) -> list[ComposedJob]:
        """Compose the jobs with these overrides, numbered from `first_number`."""
        return [self._job(list(words), number) for number, words in enumerate(batch, first_number)]

    def _job(self, overrides: list[str], number: int) -> ComposedJob:
        config = self._config(overrides)
        with open_dict(config):
            config.hydra.job.id = str(number)
            config.hydra.job.num = number
        # `${hydra:...}` in the name of a folder is resolved with the config of the running job. Without
        # `HydraConfig.set_config`, which copies it.
        HydraConfig.instance().cfg = config  # type: ignore[assignment]  # it has the part `hydra`, as its type says
        # Resolved later, a variant with `${hydra:...}` would be that of the job that was composed last.
        config.variant = config.variant
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        return ComposedJob(
            number=number,
            name=Path(os.path.relpath(folder, self._sweep.hydra.sweep.dir)).as_posix(),
            folder=folder,
            overrides=tuple(overrides),
            task=config.task,
            experiment=config.name,
            variant=config.variant,
            seed=config.seed,
            accelerator=config.trainer.accelerator,
            identity=_identity(config),
        )

    def _config(self, overrides: list[str]) -> DictConfig:
        """The config of a job, which the next job may change."""
        parsed = [self._parse(word) for word in overrides]
        values = [override for override in parsed if _is_plain_value(override)]
        if not values or any(isinstance(override.value(), dict) for override in parsed):
            return self._loader.load_sweep_config(self._sweep, overrides)
        alike = tuple(
            f"{override.get_key_element()}=" if override in values else word
            for override, word in zip(parsed, overrides, strict=True)
        )
        if alike not in self._composed:
            composed = self._loader.load_sweep_config(self._sweep, overrides)
            self._composed[alike] = composed, composed._get_node("variant")
        config, variant = self._composed[alike]
        try:
            config._set_item_impl("variant", variant)  # it may contain the value of another key
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value())
        except OmegaConfBaseException:
            return self._loader.load_sweep_config(self._sweep, overrides)  # raises an error that names the override
        _record_overrides(config, parsed)
        return config


def _identity(config: DictConfig) -> dict[str, Any]:
    """All values of a config but those of Hydra, with interpolations as they are written where they have no value."""
    plain = {}
    for key in config:
        if key != "hydra":
            node = config._get_node(key)
            try:
                plain[str(key)] = (
                    OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else config[key]
                )
            except OmegaConfBaseException:
                plain[str(key)] = str(node)
    return plain


def _is_plain_value(override: Override) -> bool:
    """Whether it sets a number, text or null instead of choosing a file of a group: a group's name has no dot."""
    name = override.key_or_group
    return (
        override.type == OverrideType.CHANGE
        and override.package is None
        and ("." in name or name in ("seed", "variant"))
        and not override.is_hydra_override()
        and not override.is_sweep_override()
        and not isinstance(override.value(), dict | list)
    )


def _record_overrides(config: DictConfig, parsed: Sequence[Override]) -> None:
    """Set the overrides in a copied config as Hydra does."""
    task = [override for override in parsed if not override.is_hydra_override()]
    job = config.hydra.job
    config.hydra.overrides.task = [override.input_line for override in task]
    job.override_dirname = get_overrides_dirname(overrides=task, **job.config.override_dirname)
