"""The verdict of a page, its first sentences: how good a network is, which row is best, and what chance explains."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fpcn_lightning.errors import UserError
from fpcn_lightning.intervals import wilson_interval
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.folds import summed_confusion
from fpcn_lightning.report.formats import percent, seeds_text, with_interval
from fpcn_lightning.report.probe_findings import is_a_probe, probe_findings
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.teaching import lessons_of, teacher_findings
from fpcn_lightning.report.variant_predictions import read_variant_predictions
from fpcn_lightning.report.variants import Variant, sort_into_variants
from fpcn_lightning.runs.results import Metrics, Result, Run
from fpcn_lightning.runs.status import status_of


class Guessing(NamedTuple):
    """What is right without looking at a picture, 0..1."""

    chance: float  # every class with the same probability
    largest: float  # always the most frequent class of the test
    largest_class: str

    @property
    def best(self) -> float:
        """What an accuracy must exceed; where the test has one class alone, naming it is no achievement to beat."""
        return self.chance if self.largest == 1 else self.largest


def guessing(result: Result, confusion: Sequence[Sequence[int]]) -> Guessing | None:
    """Of the pictures that a confusion matrix counts; None where there are none."""
    sizes = [sum(row) for row in confusion]
    if result["data"] is None or not sum(sizes):
        return None
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    return Guessing(1 / len(sizes), sizes[largest] / sum(sizes), result["data"]["classes"][largest])


def run_verdict(run: Run) -> list[str]:
    """The verdict of a single run or evaluation; the first sentence is the most important."""
    _, result = run
    tested = _configured(result, "test")
    if result["status"] != "finished":
        return [_unfinished(run)]
    if tested is None:
        return [_not_tested(result)]
    accuracy = run_accuracy(run)
    sentences = [
        f"{run_title(result)} classifies {percent(tested['accuracy'])} % of {_pictures(tested['images'])} correctly"
        f"{_interval(accuracy)}{_against_guessing(accuracy, guessing(result, tested['confusion']))}."
    ]
    sentences += probe_findings(sort_into_variants([run]))
    if seen := result.get("seen_in_training"):
        sentences.append(
            f"{seen} of the {_pictures(tested['images'])} were used in training: the accuracy is optimistic."
        )
    return sentences


def run_accuracy(run: Run) -> Estimate:
    """Accuracy on the test under the configured inference mode, with its 95 % interval.

    Without predictions of single pictures the interval is Wilson's, as if all pictures were independent.
    """
    tested = _configured(run[1], "test")
    assert tested is not None
    try:
        return bootstrap.share_of_right(read_variant_predictions(sort_into_variants([run])[0]).sample)
    except UserError:
        accuracy = min(tested["accuracy"], 1.0)
        return Estimate(accuracy, *wilson_interval(accuracy * tested["images"], tested["images"]))


def run_title(result: Result) -> str:
    """A run by variant and seed."""
    return f"{result['variant']} ({seeds_text((result['seed'],))})"


def experiment_verdict(experiment: Experiment) -> list[str]:
    """The verdict of a sweep: the best row, whether chance explains its lead, teachers that are below their student,
    what the probe gave, what is missing.
    """
    rows = compared_rows(experiment)
    sentences = []
    if not rows:
        sentences.append("No run was tested, so there is no result.")
    elif len(rows) == 1:
        found = _guessing_of(rows[0])
        sentences.append(f"{_accuracy_of(rows[0])}{_against_guessing(*found) if found else ''}.")
    elif experiment.has_groups:
        sentences += _within_groups(rows)
    else:
        sentences += _best_of(experiment, rows)
    if rows:
        sentences += teacher_findings(lessons_of(experiment))
        sentences += _about_probe(experiment, rows)
    sentences += _about_missing(experiment)
    return sentences


def compared_rows(experiment: Experiment) -> list[Row]:
    """The rows of the configured inference modes that have an accuracy, the best first, equals in their order."""
    configured = {(variant.name, variant.inference_mode) for variant in experiment.variants}
    found = [
        row for row in experiment.rows if row.accuracy is not None and (row.variant, row.inference_mode) in configured
    ]
    return sorted(found, key=lambda row: -(row.accuracy or 0))


def _configured(result: Result, split: str) -> Metrics | None:
    """The metrics of a split under the configured inference mode."""
    if result["metrics"] is None or result["inference_mode"] is None:
        return None
    by_mode = result["metrics"]["test"] if split == "test" else result["metrics"]["val"]
    return by_mode.get(result["inference_mode"])


def _unfinished(run: Run) -> str:
    status = status_of(run)
    if run[1]["status"] == "interrupted":
        return f"{run_title(run[1])} was interrupted: start the same command again to continue it."
    return f"{run_title(run[1])} has no result: {status.status}{f' ({status.error})' if status.error else ''}."


def _not_tested(result: Result) -> str:
    validated = _configured(result, "val")
    if validated is None:
        return f"{run_title(result)} was not tested."
    return (
        f"{run_title(result)} was not tested; it classifies {percent(validated['accuracy'])} % of "
        f"{validated['images']:,} validation pictures correctly, by which its epoch was chosen, so this is optimistic."
    )


def _pictures(number: int) -> str:
    return "1 test picture" if number == 1 else f"{number:,} test pictures"


def _interval(accuracy: Estimate) -> str:
    return f" (95 % interval {percent(accuracy.low)} to {percent(accuracy.high)} %)"


def _against_guessing(accuracy: Estimate, guess: Guessing | None) -> str:
    if guess is None:
        return ""
    chance = f"chance ({percent(guess.chance)} %)"
    naming = f"always naming the most frequent class, {guess.largest_class} ({percent(guess.largest)} %)"
    if accuracy.high < guess.chance:
        return f": worse than {chance}"
    if accuracy.low <= guess.chance:
        return f": no better than {chance}"
    if guess.largest == 1:
        return f": better than {chance}; all pictures are of one class, {guess.largest_class}"
    if accuracy.low <= guess.largest:
        return f": better than {chance}, but no better than {naming}"
    return f": better than {chance} and than {naming}"


def _guessing_of(row: Row) -> tuple[Estimate, Guessing] | None:
    """The accuracy of a row, and what guessing gives on its pictures; None where either is not known."""
    metrics = [found for result in row.results if (found := _configured(result, "test"))]
    guess = guessing(row.results[0], summed_confusion(metrics)) if metrics else None
    if guess is None or row.accuracy_low is None or row.accuracy_high is None:
        return None
    return Estimate(row.accuracy or 0, row.accuracy_low, row.accuracy_high), guess


def _accuracy_of(row: Row) -> str:
    interval = ""
    if row.accuracy_low is not None:
        interval = f" (95 % interval {percent(row.accuracy_low)} to {percent(row.accuracy_high)} %)"
    return (
        f"{row.variant} ({seeds_text(row.seeds)}) classifies {percent(row.accuracy)} % of "
        f"{_pictures(row.images or 0)} correctly{interval}"
    )


def _best_of(experiment: Experiment, rows: Sequence[Row]) -> Iterator[str]:
    """The best row against the next one and against the reference; none of them where chance explains all of it."""
    best, following = rows[0], rows[1]
    equal = [row.variant for row in rows if row.accuracy == best.accuracy]
    if len(equal) > 1:
        yield f"{_listed(equal)} are best, with the same {percent(best.accuracy)} % of {_pictures(best.images or 0)}."
    else:
        lead = experiment.difference(best, following)
        yield (
            f"Best is {best.variant} with {percent(best.accuracy)} % of {_pictures(best.images or 0)}, "
            f"{_lead(best, following, lead)}."
        )
    reference = next((row for row in rows if row.variant == experiment.reference), None)
    if reference is not None and reference.variant not in (*equal, following.variant):
        yield f"Against the reference, {_lead(best, reference, experiment.difference(best, reference))}."
    found = _guessing_of(best)
    if found and found[0].low <= found[1].best:
        yield f"Even the best row is{_against_guessing(*found).removeprefix(':')}."


def _lead(best: Row, other: Row, lead: Estimate | None) -> str:
    points = 100 * ((best.accuracy or 0) - (other.accuracy or 0))
    said = f"{points:.1f} points above {other.variant} ({percent(other.accuracy)} %)"
    if lead is None:
        return f"{said}; whether chance explains it is not known, since they cannot be paired"
    interval = with_interval(lead.value, lead.low, lead.high).partition(" ")[2]
    explained = "chance may explain it" if lead.low <= 0 else "chance does not explain it"
    return f"{said}; {explained} (95 % interval of the paired difference {interval})"


def _within_groups(rows: Sequence[Row]) -> Iterator[str]:
    best = rows[0]
    yield f"Best is {best.variant}: {percent(best.accuracy)} % of {_pictures(best.images or 0)}."
    compared = [row for row in rows if row.difference_low is not None and row.difference_high is not None]
    if compared:
        above = sum((row.difference_low or 0) > 0 for row in compared)
        below = sum((row.difference_high or 0) < 0 for row in compared)
        yield (
            f"Of {len(compared)} comparisons with the baseline of a group, {above} are better and {below} are worse "
            f"than chance explains; the other {len(compared) - above - below} may be chance."
        )


def _about_probe(experiment: Experiment, rows: Sequence[Row]) -> Iterator[str]:
    """What fine-tuning gave beyond the probe that the best run fitted, or beyond the row of a probe."""
    variants = {variant.name: variant for variant in experiment.variants}
    own = probe_findings([variants[rows[0].variant]])
    if own:
        yield from own
        return
    probes = [row for row in rows if _of_a_probe(variants[row.variant])]
    trained = [row for row in rows if row not in probes]
    if not probes or not trained:
        return
    probe, best = probes[0], trained[0]
    if (best.accuracy or 0) >= (probe.accuracy or 0):
        yield f"Against the linear probe, {best.variant} is {_lead(best, probe, experiment.difference(best, probe))}."
    else:
        yield f"No trained network is better than the linear probe ({percent(probe.accuracy)} %)."


def _of_a_probe(variant: Variant) -> bool:
    return bool(variant.tested) and is_a_probe(variant.tested[0][1])


def _about_missing(experiment: Experiment) -> Iterator[str]:
    without = [run for variant in experiment.variants for run in variant.others]
    missing = sum(len(variant.missing) for variant in experiment.variants)
    count = len(without) + missing
    if count:
        total = len(experiment.runs) + missing
        yield f"{count} of {total} runs {'has' if count == 1 else 'have'} no test result; the table says why."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
