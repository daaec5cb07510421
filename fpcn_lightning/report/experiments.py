"""All that a report says about an experiment: its rows with intervals, and what must be said below them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.comparison import partners, places_in_groups, with_estimates
from fpcn_lightning.report.curves import epochs_to_reach, validation_accuracy
from fpcn_lightning.report.measured import Measured, measure
from fpcn_lightning.report.rows import Row, variant_rows
from fpcn_lightning.report.settings import Settings, read_settings
from fpcn_lightning.report.variants import Variant, sort_into_variants
from fpcn_lightning.runs.plan import Plan, find_plans
from fpcn_lightning.runs.results import Run, find_results


@dataclass(frozen=True)
class Experiment:
    """What the runs of one experiment say together.

    Attributes:
        variants: in the order of their rows.
        measured: by variant, where the answers of all its runs are there.
        rows: of the table.
        remarks: what kept a number from being made.
        commands: that started its sweeps.
    """

    name: str
    variants: tuple[Variant, ...]
    settings: Settings
    measured: dict[str, Measured]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def runs(self) -> list[Run]:
        """Every run that left a record, by variant and seed."""
        return [run for variant in self.variants for run in (*variant.tested, *variant.others)]

    @property
    def has_groups(self) -> bool:
        """Whether rows are compared within groups, and not with one reference."""
        return any(row.group for row in self.rows)

    @property
    def reference(self) -> str | None:
        """The one variant that all differences are taken to, where there is one and they can be taken to it."""
        name = self.settings.get("reference")
        return name if name in self.measured and not self.has_groups else None


def read_experiments(folder: Path) -> list[Experiment]:
    """Everything below `folder`, by name of the experiment.

    Raises:
        UserError: the folder holds no runs that can be read, or a plan or section `report` in it is wrong.
    """
    unreadable: list[str] = []
    runs, plans = find_results(folder, unreadable), find_plans(folder)
    if not runs and not plans:
        raise UserError(unreadable[0] if unreadable else f"runs={folder} holds no result.json: train something first.")
    left_out = [f"Left out: {trouble}" for trouble in unreadable]
    variants = sort_into_variants(runs, plans)
    return [
        _experiment(name, list(group), plans, left_out)
        for name, group in groupby(variants, key=lambda each: each.experiment)
    ]


def _experiment(
    name: str, variants: Sequence[Variant], plans: Sequence[tuple[Path, Plan]], left_out: Sequence[str]
) -> Experiment:
    runs = [run for variant in variants for run in (*variant.tested, *variant.others)]
    remarks = [*left_out, *(f"{each.name} is not averaged: {each.mismatch}." for each in variants if each.mismatch)]
    settings, places = _settings(runs, remarks), places_in_groups(variants)
    measured = _measured(variants, remarks)
    partner_of = partners(settings, places, measured, remarks)
    rows = []
    for variant in variants:
        for row in _described(variant, settings):
            if place := places.get(variant.name):
                row = replace(row, group=place["group"], side=place["side"])
            # The answers are those of one reading.
            if variant.name in measured and row.accuracy is not None and row.inference_mode == variant.inference_mode:
                row = with_estimates(row, measured, partner_of, remarks)
            rows.append(row)
    folders = {folder for folder, _ in runs}
    commands = [
        command
        for root, plan in plans
        if root.name == name or any(root / job["folder"] in folders for job in plan["jobs"])
        for command in plan["commands"]
    ]
    return Experiment(name, tuple(variants), settings, measured, tuple(rows), tuple(remarks), tuple(commands))


def _settings(runs: Sequence[Run], remarks: list[str]) -> Settings:
    settings = read_settings(runs)
    reach = settings.get("reach")
    if reach is not None and not 0 <= reach <= 1:
        remarks.append(f"No epochs to reach an accuracy: report.reach={reach} is no share between 0 and 1.")
        settings = settings | {"reach": None}
    return settings


def _measured(variants: Sequence[Variant], remarks: list[str]) -> dict[str, Measured]:
    measured = {}
    for variant in variants:
        if variant.tested and variant.mismatch is None:
            try:
                measured[variant.name] = measure(variant)
            except UserError as error:
                remarks.append(f"No interval for {variant.name}: {error}")
    return measured


def _described(variant: Variant, settings: Settings) -> list[Row]:
    """The rows of a variant with what is asked for: the remark at the first, the rest under the configured reading."""
    rows = variant_rows(variant)
    remark = (settings.get("remarks") or {}).get(variant.name)
    if rows and remark:
        rows[0] = replace(rows[0], remark=" ".join(remark.split()))
    paper, reach = (settings.get("paper") or {}).get(variant.name), settings.get("reach")
    for place, row in enumerate(rows):
        if row.accuracy is not None and row.inference_mode == variant.inference_mode:
            row = replace(row, paper=None if paper is None else paper / 100)
            rows[place] = row if reach is None else _with_reach(row, variant, reach)
    return rows


def _with_reach(row: Row, variant: Variant, reach: float) -> Row:
    curves = [validation_accuracy(folder) for folder, _ in variant.tested]
    if not all(curves):
        return replace(row, reach=reach)
    reached = [epochs for curve in curves if (epochs := epochs_to_reach(curve, reach)) is not None]
    mean = fmean(reached) if reached else None
    return replace(row, reach=reach, epochs_to_reach=mean, seeds_that_reach=len(reached))
