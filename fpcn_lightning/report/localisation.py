"""Localisation: the measures of the heat maps of an experiment's networks, over seeds and test pictures."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fpcn_lightning.errors import UserError
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate, OutcomeSample
from fpcn_lightning.report.comparison import places_in_groups
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.formats import NOT_KNOWN, percent, seeds_cell, seeds_heading, with_interval
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.csv_text import formula_free
from fpcn_lightning.runs.heat_maps import CHANGED, HeatMapMeasures, read_heat_maps
from fpcn_lightning.runs.predictions import read_clusters

WITHOUT_BACKGROUND, WITHOUT_OBJECT = f"{CHANGED}background", f"{CHANGED}object"
# Headings of the measures that a table shows, by column of `heat_maps.csv`.
HEADINGS = {
    "object_share": "object %",
    "energy_inside": "energy inside %",
    "pointing_game": "pointing game %",
    "heat_overlap": "IoU of heat %",
    "mask_overlap": "IoU of mask %",
    "deletion": "deletion %",
    "insertion": "insertion %",
    WITHOUT_BACKGROUND: "changed without background %",
    WITHOUT_OBJECT: "changed without object %",
}
COMPARED = ("energy_inside", "pointing_game", "heat_overlap")  # and what is painted over, except the object
_DECISIVE = ("method", "test", "curves", "steps")  # options: only measures with the same ones are comparable


@dataclass(frozen=True)
class Localisation:
    """The measures of the heat maps of one network, over its seeds.

    Attributes:
        name: of the variant.
        names: of the pictures, sorted.
        samples: by measure, over the pictures that it was measured on; without measures that no picture has.
        chosen: by measure, whether each picture was measured.
        options: what it was measured with (`fpcn_lightning.tasks.explain`), as far as results depend on it.
        split: fingerprint of the pictures and their split.
    """

    name: str
    names: tuple[str, ...]
    samples: Mapping[str, OutcomeSample]
    chosen: Mapping[str, tuple[bool, ...]]
    options: Mapping[str, object]
    split: str

    def mean(self, measure: str) -> float | None:
        """Over seeds and pictures; None where it was not measured."""
        return float(self.samples[measure].outcomes.mean()) if measure in self.samples else None


class LocalisationGain(NamedTuple):
    """One network compared with another: the difference of each measure, with its interval."""

    name: str
    partner: str
    within_group: bool  # the partner is the baseline of its group
    gains: dict[str, Estimate]


def localise_variants(variants: Sequence[Variant], remarks: list[str]) -> list[Localisation]:
    """Those whose runs all were measured on the same pictures; `remarks` takes the reasons why others are skipped."""
    found = []
    for variant in variants:
        try:
            each = localise(variant.name, [(folder, result["seed"]) for folder, result in variant.tested])
        except UserError as error:
            remarks.append(f"No heat maps of {variant.name}: {error}")
            continue
        if each is not None:
            found.append(each)
    return found


def localise(name: str, runs: Sequence[tuple[Path, int]]) -> Localisation | None:
    """The measures of one network in the folders of its runs, each with its seed; None where nothing was measured.

    Raises:
        UserError: a file is damaged, or some runs were not measured, on other pictures or with other options.
    """
    read = [read_heat_maps(folder) for folder, _ in runs]
    if not any(read):
        return None
    there = [each for each in read if each is not None]
    names, options = there[0].names, _decisive(there[0])
    if len(there) < len(read) or any((each.names, _decisive(each)) != (names, options) for each in there):
        raise UserError(
            "not all its runs were measured with the same options on the same pictures: run task=explain again, unless "
            "they are the folds of a cross-validation, whose heat maps are not summed up."
        )
    clusters = read_clusters(runs[0][0], names)
    samples, chosen = {}, {}
    for measure in there[0].measures:
        outcomes = np.stack([each.measures.get(measure, np.full(len(names), np.nan)) for each in there])
        measured = ~np.isnan(outcomes).any(axis=0)
        if measured.any():
            whole = OutcomeSample(tuple(seed for _, seed in runs), outcomes, clusters)
            samples[measure], chosen[measure] = whole.of_pictures(measured), tuple(measured.tolist())
    return Localisation(name, names, samples, chosen, options, str(there[0].options.get("split")))


def compare(experiment: Experiment, found: Sequence[Localisation], remarks: list[str]) -> list[LocalisationGain]:
    """Each network with the baseline of its group and the first network of its condition, or with the reference.

    Args:
        experiment: that they belong to.
        found: its networks.
        remarks: takes the reasons why some are not compared.
    """
    by_name, comparisons = {each.name: each for each in found}, []
    for name, partner, within_group in _pairs(experiment, list(by_name)):
        mine, theirs = by_name[name], by_name[partner]
        if (mine.names, mine.options) == (theirs.names, theirs.options):
            comparisons.append(LocalisationGain(name, partner, within_group, _gains(mine, theirs)))
        else:
            remarks.append(
                f"{name} is not compared with {partner}: they were measured with different options; run "
                "task=explain again."
            )
    return comparisons


def localisation_table(found: Sequence[Localisation]) -> TextTable:
    """A line a network: means over pictures, and their spread over seeds."""
    measures = [measure for measure in (*HEADINGS, *_others(found)) if any(measure in each.samples for each in found)]
    seeds_of = [next(iter(each.samples.values())).seeds for each in found]
    seeds = seeds_heading(seeds_of)
    headings = ["variant", seeds, "pictures", *(_heading(measure) for measure in measures)]
    lines = []
    for each, own in zip(found, seeds_of, strict=True):
        cells = (_cell(each.samples.get(measure)) for measure in measures)
        lines.append([each.name, seeds_cell(own), f"{len(each.names):,}", *cells])
    return TextTable(headings, lines, {"variant": "text", seeds: "text"})


def gains_table(comparisons: Sequence[LocalisationGain]) -> TextTable:
    """A line a comparison, in points of percent with 95 % intervals."""
    measures = compared_measures(comparisons)
    headings = ["variant", "compared with", *(_heading(measure).removesuffix(" %") for measure in measures)]
    lines = [
        [each.name, each.partner, *(_gain_cell(each.gains.get(measure)) for measure in measures)]
        for each in comparisons
    ]
    return TextTable(headings, lines, {"variant": "text", "compared with": "text"})


def compared_measures(comparisons: Sequence[LocalisationGain]) -> list[str]:
    """The measures of where networks look, and of what was painted over except the object."""
    every = dict.fromkeys(measure for each in comparisons for measure in each.gains)
    painted = [measure for measure in every if measure.startswith(CHANGED) and measure != WITHOUT_OBJECT]
    return [*(measure for measure in COMPARED if measure in every), *painted]


def localisation_csv(experiments: Sequence[tuple[str, Sequence[Localisation]]]) -> str:
    """A line an experiment, network and measure: mean, interval and spread over seeds, in 0..1."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["experiment", "variant", "measure", "pictures", "seeds", "mean", "low", "high", "deviation"])
    for experiment, found in experiments:
        for each in found:
            for measure, sample in each.samples.items():
                mean, seeds = bootstrap.mean(sample), " ".join(map(str, sample.seeds))
                numbers = (mean.value, mean.low, mean.high, _deviation(sample))
                cells = [experiment, each.name, measure, sample.outcomes.shape[1], seeds, *numbers]
                writer.writerow(map(formula_free, cells))
    return buffer.getvalue()


def _pairs(experiment: Experiment, names: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """A network, its partner, and whether that is the baseline of its group."""
    places = places_in_groups(experiment.variants)
    if not places:
        reference = experiment.settings.get("reference")
        if reference is not None and reference in names:
            yield from ((name, reference, False) for name in names if name != reference)
        return
    placed = [name for name in names if name in places]
    for name in placed:
        own = places[name]
        baseline = (own["group"], own["baseline"])
        for other in placed:
            if other != name and (places[other]["group"], places[other]["condition"]) == baseline:
                yield name, other, True
        first = next(other for other in placed if places[other]["condition"] == own["condition"])
        if first != name and places[first]["group"] != own["group"]:
            yield name, first, False


def _gains(each: Localisation, partner: Localisation) -> dict[str, Estimate]:
    """By measure, of what was measured on the same pictures, or on those that have the same names."""
    return {
        measure: bootstrap.difference(each.samples[measure], partner.samples[measure])
        for measure in each.samples
        if each.chosen[measure] == partner.chosen.get(measure)
    }


def _decisive(measured: HeatMapMeasures) -> dict[str, object]:
    return {key: measured.options.get(key) for key in _DECISIVE}


def _others(found: Sequence[Localisation]) -> list[str]:
    """The measures of regions that are painted over, except background and object."""
    every = dict.fromkeys(measure for each in found for measure in each.samples)
    return [measure for measure in every if measure.startswith(CHANGED) and measure not in HEADINGS]


def _heading(measure: str) -> str:
    return HEADINGS.get(measure, f"changed without {measure.removeprefix(CHANGED)} %")


def _cell(sample: OutcomeSample | None) -> str:
    if sample is None:
        return NOT_KNOWN
    spread = _deviation(sample)
    mean = percent(float(sample.outcomes.mean()))
    return mean if spread is None else f"{mean} ± {percent(spread)}"


def _deviation(sample: OutcomeSample) -> float | None:
    of_seeds = sample.outcomes.mean(axis=1)
    return float(of_seeds.std(ddof=1)) if len(of_seeds) > 1 else None


def _gain_cell(gain: Estimate | None) -> str:
    return NOT_KNOWN if gain is None else with_interval(gain.value, gain.low, gain.high)
