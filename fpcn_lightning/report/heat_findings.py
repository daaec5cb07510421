"""The measures of heat maps in sentences, and what they do not show."""

from collections.abc import Iterator, Sequence

from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.formats import percent, with_interval
from fpcn_lightning.report.localisation import WITHOUT_BACKGROUND, WITHOUT_OBJECT, Localisation, LocalisationGain
from fpcn_lightning.runs.heat_maps import CHANGED


def findings(found: Sequence[Localisation], comparisons: Sequence[LocalisationGain]) -> list[str]:
    """A sentence or two for each network and comparison, in plain text; none where nothing was measured."""
    sentences = [sentence for each in found if (sentence := " ".join(_about(each)))]
    return sentences + [sentence for each in comparisons if (sentence := " ".join(_against(each)))]


def finding_notes(found: Sequence[Localisation], comparisons: Sequence[LocalisationGain]) -> list[str]:
    """What the measures are and do not show, in plain text; none where nothing was measured."""
    return list(_notes(found, comparisons)) if found else []


def _about(each: Localisation) -> Iterator[str]:
    inside, share, empty = each.mean("energy_inside"), each.mean("object_share"), each.mean("empty")
    if inside is None or share is None:
        yield f"{each.name}: these pictures have no true masks: whether it looks at the object is not known."
    else:
        yield (
            f"{each.name}: on average {percent(inside)} % of the heat lies on the object, which covers "
            f"{percent(share)} % of the picture{_density(inside, share)}."
        )
    if empty:
        yield f"{percent(empty)} % of its heat maps are empty, which counts as none on the object."
    painted = {measure.removeprefix(CHANGED): each.mean(measure) for measure in each.samples if CHANGED in measure}
    if painted:
        parts = ", ".join(f"the {region} {percent(share)} %" for region, share in painted.items())
        yield f"Painting over a region changes so many of its predictions: {parts}."
    if _relies_on_background(each):
        yield "So its predictions depend on the background more than on the object."


def _relies_on_background(each: Localisation) -> bool:
    if not {WITHOUT_BACKGROUND, WITHOUT_OBJECT} <= each.samples.keys():
        return False
    return bootstrap.difference(each.samples[WITHOUT_BACKGROUND], each.samples[WITHOUT_OBJECT]).low > 0


def _density(inside: float, share: float) -> str:
    """How dense heat is on the object, where there is anything to compare it with; both shares in 0..1."""
    if not 0 < share < 1 or inside == 1:
        return ""
    return f", so that it is {inside / share / ((1 - inside) / (1 - share)):.1f} times as dense there as around it"


def _against(each: LocalisationGain) -> Iterator[str]:
    energy, relies = each.gains.get("energy_inside"), each.gains.get(WITHOUT_BACKGROUND)
    parts = [f"{_points(energy)} of its heat on the object: {_verdict(energy, 'more', 'less')}"] if energy else []
    for measure, gain in each.gains.items():
        if measure.startswith(CHANGED) and measure != WITHOUT_OBJECT:
            region = measure.removeprefix(CHANGED)
            verdict = _verdict(gain, "more", "fewer")
            parts.append(f"{_points(gain)} of predictions that change without the {region}: {verdict}")
    if parts:
        yield f"{each.name} against {each.partner}: {'; '.join(parts)}."
    if relies is None or energy is None or relies.low <= 0:
        return
    if energy.high >= 0:
        yield (
            f"{each.name} relies on the background more than {each.partner} does, though its heat maps do not show it."
        )
    elif each.within_group:
        yield f"A shortcut: {each.name} looks at the background, and relies on it, more than {each.partner} does."
    else:
        yield f"{each.name} looks at the background, and relies on it, more than {each.partner} does."


def _points(gain: Estimate) -> str:
    return f"{with_interval(gain.value, gain.low, gain.high)} points"


def _verdict(gain: Estimate, above: str, below: str) -> str:
    if gain.low > 0:
        return above
    return below if gain.high < 0 else "no difference that these runs can show"


def _notes(found: Sequence[Localisation], comparisons: Sequence[LocalisationGain]) -> Iterator[str]:
    methods = " and ".join(sorted({str(each.options.get("method")) for each in found}))
    splits = " and ".join(sorted({"test" if each.options.get("test") else "validation" for each in found}))
    yield (
        f"Heat maps by {methods}, of the predicted class, on the central views of {splits} pictures. A network may "
        "also depend on what is not bright."
    )
    if comparisons:
        yield from _about_intervals(found, comparisons)
    curves = {each.samples["deletion"].outcomes.shape[1] for each in found if "deletion" in each.samples}
    if curves:
        yield (
            f"Deletion (less is better) and insertion (more is better), on {' or '.join(map(str, sorted(curves)))} of "
            "the pictures, are areas under the probability of the predicted class while the hottest pixels are "
            "removed or restored. They also favour a confident network."
        )
    if any("mask_overlap" in each.samples for each in found):
        yield "IoU of mask is that of where positioning finds the object, also in a network that does not use it."
    if any(WITHOUT_BACKGROUND in each.samples for each in found):
        yield (
            "A region that is painted over gets the mean colour of the rest. Networks were not trained with such "
            "pictures, and some predictions change for that reason alone: compare networks, not single values."
        )


def _about_intervals(found: Sequence[Localisation], comparisons: Sequence[LocalisationGain]) -> Iterator[str]:
    seeds = {len(sample.seeds) for each in found for sample in each.samples.values()}
    drawn = "pictures, by specimen, and seeds" if max(seeds) > 1 else "pictures alone, not seeds"
    yield (
        f"± is the spread over seeds. Intervals are 95 % intervals and draw {drawn}; of 20 differences that are "
        f"nothing but chance, one interval excludes 0 on average, and {len(comparisons)} pairs are compared."
    )
    split_of = {each.name: each.split for each in found}
    if any(split_of[each.name] != split_of[each.partner] for each in comparisons):
        yield (
            "Some pairs were measured on different pictures of the same names, each on its own: their differences are "
            "those of networks and pictures together."
        )
