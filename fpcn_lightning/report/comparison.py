"""With which row each row is compared: with one reference for all, or with the baseline of its group."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Sample
from fpcn_lightning.report.measured import Measured
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.settings import Settings, Within, read_settings
from fpcn_lightning.report.variants import Variant


def places_in_groups(variants: Sequence[Variant]) -> dict[str, Within]:
    """By variant, its group and its side there; those that belong to no group are left out."""
    found = {each.name: read_settings((*each.tested, *each.others)).get("within") for each in variants}
    return {name: within for name, within in found.items() if within}


def partners(
    settings: Settings, places: Mapping[str, Within], measured: Mapping[str, Measured], remarks: list[str]
) -> dict[str, str]:
    """By variant, the measured one that its difference is taken to; the partner of that one is itself.

    Args:
        settings: of the experiment.
        places: of the variants in their groups; where there are any, no reference counts.
        measured: the variants whose answers are known.
        remarks: take why some variants have no partner.
    """
    reference = settings.get("reference")
    if places:
        if reference is not None:
            remarks.append(
                "report.reference and report.within exclude each other: differences are to the baseline of each "
                f"group, not to {reference}."
            )
        return _baselines(places, measured, remarks)
    if reference is None:
        return {}
    if reference not in measured:
        remarks.append(f"No differences: the reference {reference} has no answers to compare with.")
        return {}
    return dict.fromkeys(measured, reference)


def with_estimates(
    row: Row, measured: Mapping[str, Measured], partner_of: Mapping[str, str], remarks: list[str]
) -> Row:
    """The row of a measured variant with its interval, and its difference to its partner."""
    mine = measured[row.variant]
    mean = bootstrap.mean(mine.sample)
    row = replace(row, accuracy_low=mean.low, accuracy_high=mean.high)
    if row.variant not in partner_of:
        return row
    partner = partner_of[row.variant]
    row = replace(row, reference=partner)
    theirs = measured[partner]
    if mine is theirs:
        return row
    if not mine.is_comparable(theirs):
        remarks.append(f"{row.variant} is not comparable with {partner}: they were tested on different pictures.")
        return row
    if mine.sample.seeds != theirs.sample.seeds:
        remarks.append(_about_seeds(row.variant, mine.sample, partner, theirs.sample))
    gain = bootstrap.difference(mine.sample, theirs.sample)
    return replace(row, difference=gain.value, difference_low=gain.low, difference_high=gain.high)


def _baselines(places: Mapping[str, Within], measured: Mapping[str, Measured], remarks: list[str]) -> dict[str, str]:
    members: dict[tuple[str, str], list[str]] = {}
    for name, place in places.items():
        members.setdefault((place["group"], place["baseline"]), []).append(name)
    found: dict[str, str] = {}
    for (group, side), names in members.items():
        there = [name for name, place in places.items() if (place["group"], place["side"]) == (group, side)]
        baselines = [name for name in there if name in measured]
        if len(baselines) == 1:
            found |= dict.fromkeys(names, baselines[0])
        elif baselines:
            remarks.append(f"No differences in the group {group}: {', '.join(baselines)} are all its side {side}.")
        else:
            remarks.append(f"No differences in the group {group}: its side {side} has no answers to compare with.")
    return found


def _about_seeds(variant: str, mine: Sample, partner: str, theirs: Sample) -> str:
    common = [str(seed) for seed in mine.seeds if seed in theirs.seeds]
    if not common:
        return f"The difference of {variant} is not paired by seed: it shares none with {partner}."
    alone = ", and so says nothing about another seed" if len(common) == 1 else ""
    return f"The difference of {variant} is over the seeds that it shares with {partner}: {' '.join(common)}{alone}."
