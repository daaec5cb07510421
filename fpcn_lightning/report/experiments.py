"""An experiment as a report shows it: its rows with intervals, and remarks about what could not be computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean

from fpcn_lightning.errors import UserError
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.comparison import partners, places_in_groups, with_estimates
from fpcn_lightning.report.curves import epochs_to_reach, validation_accuracy
from fpcn_lightning.report.rows import Row, variant_rows
from fpcn_lightning.report.settings import ReportSettings, read_settings
from fpcn_lightning.report.variant_predictions import VariantPredictions, read_variant_predictions
from fpcn_lightning.report.variants import Variant, sort_into_variants
from fpcn_lightning.runs.plan import Plan, find_plans
from fpcn_lightning.runs.results import Run, find_results


@dataclass(frozen=True)
class Experiment:
    """The runs of one experiment, compared.

    Attributes:
        variants: in the order of their rows.
        predictions: by variant, where those of all its runs could be read.
        rows: of the table.
        remarks: why some numbers could not be computed.
        commands: that started its sweeps.
    """

    name: str
    variants: tuple[Variant, ...]
    settings: ReportSettings
    predictions: dict[str, VariantPredictions]
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
        return name if name in self.predictions and not self.has_groups else None

    def difference(self, row: Row, other: Row) -> Estimate | None:
        """The paired difference in accuracy of two rows; None where they were not tested on the same pictures."""
        mine, theirs = (self.predictions.get(each.variant) for each in (row, other))
        if mine is None or theirs is None or not mine.is_comparable(theirs):
            return None
        return bootstrap.difference(mine.sample, theirs.sample)


def read_experiments(folder: Path) -> list[Experiment]:
    """Everything below `folder`, by name of the experiment.

    Raises:
        UserError: the folder holds no runs that can be read, or a plan or section `report` in it is wrong.
    """
    unreadable: list[str] = []
    runs, plans = find_results(folder, unreadable), find_plans(folder)
    if not runs and not plans:
        raise UserError(unreadable[0] if unreadable else f"runs={folder} holds no result.json: train something first.")
    skipped = [f"Skipped: {message}" for message in unreadable]
    variants = sort_into_variants(runs, plans)
    return [
        _experiment(name, list(group), plans, skipped)
        for name, group in groupby(variants, key=lambda each: each.experiment)
    ]


def _experiment(
    name: str, variants: Sequence[Variant], plans: Sequence[tuple[Path, Plan]], skipped: Sequence[str]
) -> Experiment:
    runs = [run for variant in variants for run in (*variant.tested, *variant.others)]
    remarks = [*skipped, *(f"{each.name} is not averaged: {each.mismatch}." for each in variants if each.mismatch)]
    settings, places = _settings(runs, remarks), places_in_groups(variants)
    predictions = _predictions(variants, remarks)
    partner_of = partners(settings, places, predictions, remarks)
    rows = []
    for variant in variants:
        for row in _annotated(variant, settings):
            if place := places.get(variant.name):
                row = replace(row, group=place["group"], condition=place["condition"])
            # The predictions are those of one inference mode.
            if variant.name in predictions and _is_configured(row, variant):
                row = with_estimates(row, predictions, partner_of, remarks)
            rows.append(row)
    folders = {folder for folder, _ in runs}
    commands = [
        command
        for root, plan in plans
        if root.name == name or any(root / run.folder in folders for run in plan.runs)
        for command in plan.commands
    ]
    return Experiment(name, tuple(variants), settings, predictions, tuple(rows), tuple(remarks), tuple(commands))


def _settings(runs: Sequence[Run], remarks: list[str]) -> ReportSettings:
    settings = read_settings(runs)
    reach = settings.get("reach")
    if reach is not None and not 0 <= reach <= 1:
        remarks.append(f"No epochs to reach an accuracy: report.reach={reach} is not between 0 and 1.")
        settings = settings | {"reach": None}
    return settings


def _predictions(variants: Sequence[Variant], remarks: list[str]) -> dict[str, VariantPredictions]:
    predictions = {}
    for variant in variants:
        if variant.tested and variant.mismatch is None:
            try:
                predictions[variant.name] = read_variant_predictions(variant)
            except UserError as error:
                remarks.append(f"No interval for {variant.name}: {error}")
    return predictions


def _annotated(variant: Variant, settings: ReportSettings) -> list[Row]:
    """The rows of a variant with what the settings add: a remark to the first, all else to the configured mode."""
    rows = variant_rows(variant)
    remark = (settings.get("remarks") or {}).get(variant.name)
    if rows and remark:
        rows[0] = replace(rows[0], remark=" ".join(remark.split()))
    paper, target = (settings.get("paper") or {}).get(variant.name), settings.get("reach")
    for place, row in enumerate(rows):
        if _is_configured(row, variant):
            row = replace(row, paper=None if paper is None else paper / 100)
            rows[place] = row if target is None else _with_epochs(row, variant, target)
    return rows


def _is_configured(row: Row, variant: Variant) -> bool:
    """Whether the row has results of the configured inference mode."""
    return row.accuracy is not None and row.inference_mode == variant.inference_mode


def _with_epochs(row: Row, variant: Variant, target: float) -> Row:
    curves = [validation_accuracy(folder) for folder, _ in variant.tested]
    if not all(curves):
        return replace(row, target_accuracy=target)
    reached = [epochs for curve in curves if (epochs := epochs_to_reach(curve, target)) is not None]
    mean = fmean(reached) if reached else None
    return replace(row, target_accuracy=target, epochs_to_target=mean, seeds_at_target=len(reached))
