"""The notes below a table: what its numbers are, and what they do not show."""

from collections.abc import Iterable, Sequence

from fpcn_lightning.report.bootstrap import LEVEL, REPLICATES
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.probe_findings import probe_findings
from fpcn_lightning.report.rows import Row, footnotes
from fpcn_lightning.report.variant_predictions import VariantPredictions
from fpcn_lightning.runs.results import Result, Run


def notes(experiment: Experiment) -> list[str]:
    """One or two sentences a note, in plain text."""
    averaged = [row for row in experiment.rows if row.accuracy is not None]
    runs = [run for variant in experiment.variants for run in variant.tested]
    return [
        *(_about_numbers(averaged) if averaged else []),
        *_about_folds(experiment),
        *_about_intervals(experiment),
        *probe_findings(experiment.variants),
        *_about_inference_modes(experiment, averaged),
        *_about_the_paper(experiment),
        *footnotes(experiment.rows),
        *_about_epochs(averaged),
        *_about_cost(averaged, [result for _, result in runs]),
        *_about_origin(runs),
        *experiment.remarks,
    ]


def _about_numbers(rows: Sequence[Row]) -> list[str]:
    images = sorted({row.images for row in rows if row.images is not None})
    sizes = " or ".join(f"{number:,}" for number in images)
    found = (
        f"The test set has {sizes} pictures. ± is the binomial standard error of one test set of that size at the mean "
        "accuracy"
    )
    if all(row.accuracy_deviation is None for row in rows):
        return [f"{found}."]
    return [f"{found}; the SD over seeds is the spread between trainings. Neither contains the other."]


def _about_folds(experiment: Experiment) -> list[str]:
    if not any(variant.folds for variant in experiment.variants):
        return []
    return [
        "Runs that tested different parts of the same pictures are the folds of a cross-validation: their test "
        "pictures are counted together, and an interval does not cover the spread between trainings."
    ]


def _about_intervals(experiment: Experiment) -> list[str]:
    if not experiment.predictions:
        return []
    samples = [each.sample for each in experiment.predictions.values()]
    drawn = "test pictures and seeds" if any(len(each.seeds) > 1 for each in samples) else "test pictures"
    found = [
        f"Intervals are {100 * LEVEL:.0f} % percentile bootstrap intervals: {REPLICATES:,} replicates that draw "
        f"{drawn} with replacement."
    ]
    if any(each.outcomes.min() == each.outcomes.max() for each in samples):
        found.append(
            "Where all predictions are right, or all are wrong, replicates do not differ: the interval is Wilson's, "
            "with one trial for each group of pictures."
        )
    compared = sum(row.difference is not None for row in experiment.rows)
    if compared:
        found.extend(_about_groups(experiment.rows))
        found.append(
            "Differences are in points of percent, paired by picture and, where seeds are shared, by seed; one whose "
            "interval contains 0 may be chance. The intervals are not corrected for the number of comparisons, here "
            f"{compared}: of 20 differences that are nothing but chance, one interval excludes 0 on average."
        )
    clustered = next((each for each in experiment.predictions.values() if _clusters(each) < len(each.names)), None)
    if clustered is not None:
        found.append(
            f"Pictures of one group and copies are drawn as a whole: {_clusters(clustered):,} draws, not "
            f"{len(clustered.names):,}."
        )
    of_folds = {variant.name for variant in experiment.variants if variant.folds}
    if any(len(each.sample.seeds) == 1 for name, each in experiment.predictions.items() if name not in of_folds):
        found.append(
            "Where there is one seed, only pictures are drawn: the interval does not cover the spread over seeds."
        )
    if any(2 <= len(each.seeds) < 5 for each in samples):
        found.append("With fewer than five seeds an interval is too narrow: it underestimates the spread over seeds.")
    return found


def _about_groups(rows: Sequence[Row]) -> list[str]:
    baselines = {row.group: row for row in rows if row.group and row.reference == row.variant}
    if not baselines:
        return []
    named = "; ".join(f"{row.variant} ({row.condition}) in {group}" for group, row in baselines.items())
    return [f"Differences are to the baseline of the same group: {named}."]


def _clusters(predictions: VariantPredictions) -> int:
    return len(set(predictions.sample.clusters.tolist()))


def _about_inference_modes(experiment: Experiment, rows: Sequence[Row]) -> list[str]:
    configured = {(variant.name, variant.inference_mode) for variant in experiment.variants}
    if all((row.variant, row.inference_mode) in configured for row in rows):
        return []
    return [
        "An inference mode is a way to predict with the same trained network; the configured one comes first. "
        "Predictions for single pictures are stored for that one only, so the others have no interval."
    ]


def _about_the_paper(experiment: Experiment) -> list[str]:
    if all(row.paper is None for row in experiment.rows):
        return []
    source = experiment.settings.get("source")
    return [
        f"The paper's values{f' ({source})' if source else ''} were measured on its own test set, with its own "
        "training: compare differences between rows, not single values."
    ]


def _about_epochs(rows: Sequence[Row]) -> list[str]:
    if all(row.seeds_at_target is None for row in rows):
        return []
    found = (
        "Epochs to an accuracy on validation are counted from 1, up to the first at whose end it is reached: means "
        "over seeds."
    )
    if any(row.seeds_at_target == 0 for row in rows):
        found += " 'never': no seed reached it within its epochs."
    if any(0 < (row.seeds_at_target or 0) < len(row.seeds) for row in rows):
        found += (
            " '2 of 3: 4.5': two of three seeds reached it, after 4.5 epochs on average; the third did not within its "
            "epochs."
        )
    return [found]


def _about_cost(rows: Sequence[Row], results: Sequence[Result]) -> list[str]:
    found = []
    if any(row.training_gmac is not None for row in rows):
        found.append(
            "GMAC are the multiply-accumulates of one picture through the deployed network, training GMAC those of the "
            "forward pass of a training step, for a picture of its batch. A picture that is cut into tiles counts "
            "with all its tiles; where sizes differ, with those of the largest."
        )
    if any(row.milliseconds is not None for row in rows):
        devices = _distinct(
            result["device"] or "unknown"
            for result in results
            if result["network"] and "milliseconds" in result["network"]
        )
        found.append(
            "ms is the median time of one view, alone in its batch, through the trained network in PyTorch, in float32 "
            f"and on a CPU by one thread; measured on {'; '.join(devices)}."
        )
    if any(row.training_images_per_second or row.inference_images_per_second for row in rows):
        devices = _distinct(result["device"] or "unknown" for result in results if "images_per_second" in result)
        found.append(
            f"Pictures a second were measured on {'; '.join(devices)}. Speeds of runs that shared a machine are no "
            "more than an order of magnitude."
        )
    return found


def _about_origin(runs: list[Run]) -> list[str]:
    results = [result for _, result in runs]
    commits = _distinct((result["code"]["commit"] or "no commit")[:12] for result in results)
    devices = _distinct(result["device"] or "unknown" for result in results)
    found = []
    if len(commits) > 1:
        found.append(f"The runs come from {len(commits)} commits: {', '.join(commits)}.")
    dirty = sum(result["code"]["dirty"] is True for result in results)
    if dirty:
        found.append(f"{dirty} of {len(results)} runs come from a checkout with uncommitted changes.")
    if len(devices) > 1:
        found.append(
            f"The runs come from different devices ({'; '.join(devices)}): their numbers are not bitwise reproducible."
        )
    seen = sum(bool(result.get("seen_in_training")) for result in results)
    if seen:
        found.append(
            f"{seen} of {len(results)} runs were tested on pictures that they were trained on: their results are "
            "optimistic."
        )
    return found


def _distinct(values: Iterable[str]) -> list[str]:
    return sorted(set(values))
