"""With which row each row is compared: with one reference for all, or with the baseline of its group."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import OutcomeSample
from fpcn_lightning.report.formats import seeds_text
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.settings import ReportSettings, WithinSettings, read_settings
from fpcn_lightning.report.variant_predictions import VariantPredictions
from fpcn_lightning.report.variants import Variant


def places_in_groups(variants: Sequence[Variant]) -> dict[str, WithinSettings]:
    """By variant, its group and its condition there; variants that belong to no group are skipped."""
    found = {each.name: read_settings((*each.tested, *each.others)).get("within") for each in variants}
    return {name: within for name, within in found.items() if within}


def partners(
    settings: ReportSettings,
    places: Mapping[str, WithinSettings],
    predictions: Mapping[str, VariantPredictions],
    remarks: list[str],
) -> dict[str, str]:
    """By variant, the one that its difference is taken to; the partner of that one is itself.

    Args:
        settings: of the experiment.
        places: of the variants in their groups; where there are any, no reference counts.
        predictions: by variant, where those of all its runs could be read.
        remarks: takes the reason for each variant that has no partner.
    """
    reference = settings.get("reference")
    if places:
        if reference is not None:
            remarks.append(
                "report.reference and report.within exclude each other: differences are to the baseline of each "
                f"group, not to {reference}."
            )
        return _baselines(places, predictions, remarks)
    if reference is None:
        return {}
    if reference not in predictions:
        remarks.append(f"No differences: the reference {reference} has no predictions to compare with.")
        return {}
    return dict.fromkeys(predictions, reference)


def with_estimates(
    row: Row, predictions: Mapping[str, VariantPredictions], partner_of: Mapping[str, str], remarks: list[str]
) -> Row:
    """The row of a variant with predictions, with its interval, and its difference to its partner."""
    mine = predictions[row.variant]
    accuracy = bootstrap.share_of_right(mine.sample)
    row = replace(row, accuracy_low=accuracy.low, accuracy_high=accuracy.high)
    if row.variant not in partner_of:
        return row
    partner = partner_of[row.variant]
    row = replace(row, reference=partner)
    theirs = predictions[partner]
    if mine is theirs:
        return row
    if not mine.is_comparable(theirs):
        remarks.append(f"{row.variant} is not comparable with {partner}: they were tested on different pictures.")
        return row
    if mine.sample.seeds != theirs.sample.seeds:
        remarks.append(_about_seeds(row.variant, mine.sample, partner, theirs.sample))
    gain = bootstrap.difference(mine.sample, theirs.sample)
    return replace(row, difference=gain.value, difference_low=gain.low, difference_high=gain.high)


def _baselines(
    places: Mapping[str, WithinSettings], predictions: Mapping[str, VariantPredictions], remarks: list[str]
) -> dict[str, str]:
    members: dict[tuple[str, str], list[str]] = {}
    for name, place in places.items():
        members.setdefault((place["group"], place["baseline"]), []).append(name)
    found: dict[str, str] = {}
    for (group, condition), names in members.items():
        there = [name for name, place in places.items() if (place["group"], place["condition"]) == (group, condition)]
        baselines = [name for name in there if name in predictions]
        if len(baselines) == 1:
            found |= dict.fromkeys(names, baselines[0])
        elif baselines:
            remarks.append(
                f"No differences in the group {group}: {', '.join(baselines)} all have the condition {condition}."
            )
        else:
            remarks.append(
                f"No differences in the group {group}: the condition {condition} has no predictions to compare with."
            )
    return found


def _about_seeds(variant: str, mine: OutcomeSample, partner: str, theirs: OutcomeSample) -> str:
    common = [seed for seed in mine.seeds if seed in theirs.seeds]
    if not common:
        return f"The difference of {variant} is not paired by seed: it shares none with {partner}."
    alone = ", so its interval does not cover the spread over seeds" if len(common) == 1 else ""
    return f"The difference of {variant} is over what it shares with {partner}: {seeds_text(common)}{alone}."
