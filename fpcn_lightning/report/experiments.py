"""All that a report says about an experiment: its rows with intervals, and what must be said below them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.errors import UserError
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.answers import read_answers, read_clusters
from fpcn_lightning.report.bootstrap import Sample
from fpcn_lightning.report.plan import Plan, find_plans
from fpcn_lightning.report.results import Run, find_results
from fpcn_lightning.report.rows import Row, variant_rows
from fpcn_lightning.report.settings import Settings, read_settings
from fpcn_lightning.report.variants import Variant, sort_into_variants


@dataclass(frozen=True)
class Measured:
    """A variant's answers to the P test pictures under its configured reading, over its seeds.

    Attributes:
        fingerprint: of the split.
        names: of the pictures, sorted.
        sample: right and wrong answers of each seed.
        object_ratio: [P], mean over seeds of the share that the network took for object; NaN where nobody knows.
        true_object_ratio: [P], the same by the masks of the data set.
    """

    fingerprint: str
    names: tuple[str, ...]
    sample: Sample
    object_ratio: NDArray[np.float64]
    true_object_ratio: NDArray[np.float64]

    def is_comparable(self, other: "Measured") -> bool:
        """Whether both were tested on the same pictures of the same split, in the same groups."""
        same = (self.fingerprint, self.names) == (other.fingerprint, other.names)
        return same and np.array_equal(self.sample.clusters, other.sample.clusters)


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
    def reference(self) -> str | None:
        """The variant that differences are taken to, where it is one that they can be taken to."""
        name = self.settings.get("reference")
        return name if name in self.measured else None


def read_experiments(folder: Path) -> list[Experiment]:
    """Everything below `folder`, by name of the experiment.

    Raises:
        UserError: the folder holds no runs, or a record in it cannot be read.
    """
    runs, plans = find_results(folder), find_plans(folder)
    if not runs and not plans:
        raise UserError(f"runs={folder} holds no result.json: train something first.")
    variants = sort_into_variants(runs, plans)
    return [
        _experiment(name, list(group), plans) for name, group in groupby(variants, key=lambda each: each.experiment)
    ]


def _experiment(name: str, variants: Sequence[Variant], plans: Sequence[tuple[Path, Plan]]) -> Experiment:
    runs = [run for variant in variants for run in (*variant.tested, *variant.others)]
    settings = read_settings(runs)
    measured: dict[str, Measured] = {}
    remarks = [f"{each.name} is not averaged: {each.quarrel}." for each in variants if each.quarrel]
    for variant in variants:
        if variant.tested and variant.quarrel is None:
            try:
                measured[variant.name] = _measure(variant)
            except UserError as error:
                remarks.append(f"No interval for {variant.name}: {error}")
    reference = settings.get("reference")
    if reference is not None and reference not in measured:
        remarks.append(f"No differences: the reference {reference} has no answers to compare with.")
    rows = [
        _with_estimates(row, variant, settings, measured, remarks)
        for variant in variants
        for row in variant_rows(variant)
    ]
    folders = {folder for folder, _ in runs}
    commands = [
        command
        for root, plan in plans
        if root.name == name or any(root / job["folder"] in folders for job in plan["jobs"])
        for command in plan["commands"]
    ]
    return Experiment(name, tuple(variants), settings, measured, tuple(rows), tuple(remarks), tuple(commands))


def _measure(variant: Variant) -> Measured:
    answers = [read_answers(run) for run in variant.tested]
    first, data = answers[0], variant.tested[0][1]["data"]
    if any(each.names != first.names for each in answers):
        raise UserError("its runs were tested on different pictures.")
    clusters = [read_clusters(folder, first.names) for folder, _ in variant.tested]
    if any(not np.array_equal(each, clusters[0]) for each in clusters):
        raise UserError("its runs put the test pictures into different groups.")
    sample = Sample(
        seeds=tuple(result["seed"] for _, result in variant.tested),
        outcomes=np.stack([each.correct for each in answers]),
        clusters=clusters[0],
    )
    found = np.stack([each.object_ratio for each in answers]).mean(axis=0)
    return Measured(data["fingerprint"] if data else "", first.names, sample, found, first.true_object_ratio)


def _with_estimates(
    row: Row, variant: Variant, settings: Settings, measured: dict[str, Measured], remarks: list[str]
) -> Row:
    """The row with the paper's value, its interval and its difference; the answers are those of one reading."""
    if row.accuracy is None or row.reading != variant.reading:
        return row
    paper = (settings.get("paper") or {}).get(row.variant)
    row = replace(row, paper=None if paper is None else paper / 100)
    if row.variant not in measured:
        return row
    mine = measured[row.variant]
    mean = bootstrap.mean(mine.sample)
    row = replace(row, accuracy_low=mean.low, accuracy_high=mean.high)
    reference = settings.get("reference")
    if reference is None or reference not in measured:
        return row
    row = replace(row, reference=reference)
    theirs = measured[reference]
    if mine is theirs:
        return row
    if not mine.is_comparable(theirs):
        remarks.append(f"{row.variant} is not comparable with {reference}: they were tested on different pictures.")
        return row
    if mine.sample.seeds != theirs.sample.seeds:
        remarks.append(_about_seeds(row.variant, mine.sample, theirs.sample))
    gain = bootstrap.difference(mine.sample, theirs.sample)
    return replace(row, difference=gain.value, difference_low=gain.low, difference_high=gain.high)


def _about_seeds(variant: str, mine: Sample, theirs: Sample) -> str:
    common = [str(seed) for seed in mine.seeds if seed in theirs.seeds]
    if not common:
        return f"The difference of {variant} is not paired by seed: it shares none with the reference."
    alone = ", and so says nothing about another seed" if len(common) == 1 else ""
    return (
        f"The difference of {variant} is over the seeds that it shares with the reference: {' '.join(common)}{alone}."
    )
