"""What the measures of heat maps say, in words."""

from collections.abc import Iterator, Sequence

from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.formats import percent, with_interval
from fpcn_lightning.report.heat_record import CHANGED
from fpcn_lightning.report.localisation import Comparison, Localised

_WITHOUT_BACKGROUND, _WITHOUT_OBJECT = f"{CHANGED}background", f"{CHANGED}object"


def findings(found: Sequence[Localised], comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence or two a network and a comparison, in plain text; nothing where nothing was measured."""
    said = [sentence for each in found if (sentence := " ".join(_about(each)))]
    said += [sentence for each in comparisons if (sentence := " ".join(_against(each)))]
    return [*said, *(_notes(found) if said else [])]


def _about(each: Localised) -> Iterator[str]:
    inside, share = each.mean("energy_inside"), each.mean("object_share")
    if inside is not None and share is not None:
        yield (
            f"{each.name}: {percent(inside)} % of the heat lies on the object, which covers {percent(share)} % of the "
            f"picture{_density(inside, share)}."
        )
    background, object_ = each.mean(_WITHOUT_BACKGROUND), each.mean(_WITHOUT_OBJECT)
    if background is not None and object_ is not None:
        yield (
            f"Painted over, the background changes {percent(background)} % of the answers of {each.name}, the object "
            f"{percent(object_)} %."
        )
        if background > object_:
            yield "So its answers hang on the background more than on the object."


def _density(inside: float, share: float) -> str:
    """How dense heat is on the object, where there is anything to compare it with; both shares in 0..1."""
    if not 0 < share < 1 or inside == 1:
        return ""
    return f", so that it is {inside / share / ((1 - inside) / (1 - share)):.1f} times as dense there as around it"


def _against(each: Comparison) -> Iterator[str]:
    energy, hangs = each.gains.get("energy_inside"), each.gains.get(_WITHOUT_BACKGROUND)
    pair = f"{each.name} against {each.partner}"
    if energy is not None:
        yield f"{pair}: {_points(energy)} of its heat on the object: {_verdict(energy, 'more', 'less')}."
    if hangs is not None:
        yield f"{_points(hangs)} of answers that change without the background: {_verdict(hangs, 'more', 'fewer')}."
    if energy is not None and hangs is not None and energy.high < 0 and hangs.low > 0:
        yield f"A shortcut: {each.name} looks at the background, and answers by it, more than {each.partner} does."


def _points(gain: Estimate) -> str:
    return f"{with_interval(gain.value, gain.low, gain.high)} points"


def _verdict(gain: Estimate, above: str, below: str) -> str:
    if gain.low > 0:
        return above
    return below if gain.high < 0 else "no difference that these runs can see"


def _notes(found: Sequence[Localised]) -> Iterator[str]:
    yield (
        "Heat maps are those of the class that the network answers, on the middles of test pictures. ± is the spread "
        "over seeds; intervals hold 95 % and draw specimens and seeds; many are looked at, and of 20 that are nothing "
        "but chance one leaves 0 out."
    )
    if any("deletion" in each.samples for each in found):
        yield (
            "Deletion (less is better) and insertion (more is better) are areas under the probability of the answer "
            "while the hottest pixels are taken away or given back. They reward a sure network, too."
        )
    if any(_WITHOUT_BACKGROUND in each.samples for each in found):
        yield (
            "What is painted over gets the mean colour of the rest, which is no picture that a network was trained "
            "with: some answers change for that alone, so compare networks, not numbers."
        )
