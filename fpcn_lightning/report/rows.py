"""The rows of a table: one for each inference mode of a variant, over its seeds, and one for each failed run."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, product
from string import ascii_lowercase
from typing import Literal

from fpcn_lightning.report.folds import macro_f1, summed_confusion
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import Metrics, Result, Run
from fpcn_lightning.runs.status import status_of


@dataclass(frozen=True)
class Row:
    """The test results of one variant under one inference mode; every number is None if no run finished.

    Its attributes but for `results` are the first columns of `table.csv`, in this order and by these names.

    Attributes:
        seeds: seeds averaged, ascending.
        images: size of the test set; of all folds of a cross-validation.
        accuracy: mean over seeds, or over the images of all folds, 0..1.
        accuracy_low: lower end of its 95 % bootstrap interval, 0..1.
        accuracy_high: upper end.
        accuracy_deviation: sample standard deviation over seeds; None with a single seed, and over folds.
        accuracy_standard_error: binomial, of one test set at the mean accuracy; None at accuracy 0 or 1, where the
            formula would claim certainty.
        group: of rows that are compared with each other; None where all are compared with one reference.
        condition: what distinguishes the row from the others of its group.
        reference: the variant that the difference is taken to.
        difference: accuracy less that of the reference over the seeds that both have, -1..1.
        difference_low: lower end of its 95 % bootstrap interval.
        difference_high: upper end.
        paper: the accuracy that the paper gives, 0..1.
        remark: a note about the variant.
        target_accuracy: the validation accuracy, 0..1, that is to be reached.
        epochs_to_target: mean number of epochs until it was, over the seeds that reached it.
        seeds_at_target: how many did; None where a curve is missing.
        macro_f1: mean over seeds, or of the images of all folds, 0..1.
        gmac: 1e9 multiply-accumulates of one image, of the configured inference mode alone, as are images a second.
        milliseconds: mean over seeds of the time of one view through the deployed network, on the run's device.
        training_gmac: those of one training step's forward pass, for an image of its batch.
        seconds: mean time of training.
        training_images_per_second: mean over seeds, on the run's device.
        inference_images_per_second: the same of the deployed network.
        results: the records of the runs that are averaged, by seed, for columns that are computed from them.
    """

    experiment: str
    variant: str
    inference_mode: str | None
    seeds: tuple[int, ...]
    status: str
    error: str | None = None
    images: int | None = None
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    accuracy_deviation: float | None = None
    accuracy_standard_error: float | None = None
    group: str | None = None
    condition: str | None = None
    reference: str | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    paper: float | None = None
    remark: str | None = None
    target_accuracy: float | None = None
    epochs_to_target: float | None = None
    seeds_at_target: int | None = None
    macro_f1: float | None = None
    parameters: int | None = None
    gmac: float | None = None
    milliseconds: float | None = None
    training_gmac: float | None = None
    seconds: float | None = None
    training_images_per_second: float | None = None
    inference_images_per_second: float | None = None
    results: tuple[Result, ...] = field(default=(), compare=False, repr=False)


def variant_rows(variant: Variant) -> list[Row]:
    """The rows of a variant: the configured inference mode first, runs without results last, by seed.

    The test pictures of the folds of a cross-validation are counted together.
    """
    results = [result for _, result in variant.tested]
    if variant.mismatch is None:
        names = {name for result in results for name in _inference_modes(result)}
        rows = [
            (_row_of_folds if variant.folds else _mean_row)(
                name, [result for result in results if name in _inference_modes(result)]
            )
            for name in sorted(names, key=lambda name: (name != variant.inference_mode, name))
        ]
    else:
        seeds = tuple(result["seed"] for result in results)
        rows = [Row(variant.experiment, variant.name, variant.inference_mode, seeds, "not averaged", variant.mismatch)]
    without = [_blank_row(run) for run in variant.others]
    without += [Row(variant.experiment, variant.name, None, (seed,), "missing") for seed in variant.missing]
    return rows + sorted(without, key=lambda row: row.seeds)


def marks(rows: Sequence[Row]) -> list[str | None]:
    """A letter in brackets for each row with a remark, in their order: (a), (b), ... (z), (aa)."""
    letters = _letters()
    return [f"({next(letters)})" if row.remark else None for row in rows]


def footnotes(rows: Sequence[Row]) -> list[str]:
    """The remarks of rows behind their marks, in plain text."""
    return [f"{mark} {row.variant}: {row.remark}" for mark, row in zip(marks(rows), rows, strict=True) if mark]


def _letters() -> Iterator[str]:
    for length in count(1):
        yield from map("".join, product(ascii_lowercase, repeat=length))


def _inference_modes(result: Result) -> Sequence[str]:
    return list(result["metrics"]["test"]) if result["metrics"] else []


def _mean_row(inference_mode: str, results: Sequence[Result]) -> Row:
    metrics = _tested(inference_mode, results)
    accuracies = [one["accuracy"] for one in metrics]
    accuracy = statistics.fmean(accuracies)
    images = metrics[0]["images"]
    network = results[0]["network"]
    # The cost of inference was measured for the configured inference mode alone.
    measured = results if inference_mode == results[0]["inference_mode"] else []
    training_macs = _mean_or_none([_training_macs(result) for result in results])
    return Row(
        experiment=results[0]["experiment"],
        variant=results[0]["variant"],
        inference_mode=inference_mode,
        seeds=tuple(result["seed"] for result in results),
        status="finished",
        images=images,
        accuracy=accuracy,
        accuracy_deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        accuracy_standard_error=_binomial(accuracy, images),
        macro_f1=statistics.fmean(one["macro_f1"] for one in metrics),
        parameters=network["parameters"] if network else None,
        gmac=network["macs"] / 1e9 if network and measured else None,
        milliseconds=_mean_or_none([_milliseconds(result) for result in measured]),
        training_gmac=None if training_macs is None else training_macs / 1e9,
        seconds=_mean_or_none([result["seconds"]["fit"] for result in results]),
        training_images_per_second=_mean_or_none([_images_per_second(result, "training") for result in results]),
        inference_images_per_second=_mean_or_none([_images_per_second(result, "inference") for result in measured]),
        results=tuple(results),
    )


def _row_of_folds(inference_mode: str, results: Sequence[Result]) -> Row:
    confusion = summed_confusion(_tested(inference_mode, results))
    images, right = sum(map(sum, confusion)), sum(counts[label] for label, counts in enumerate(confusion))
    return replace(
        _mean_row(inference_mode, results),
        images=images,
        accuracy=right / images,
        accuracy_deviation=None,  # the spread over folds is that of their pictures, too
        accuracy_standard_error=_binomial(right / images, images),
        macro_f1=macro_f1(confusion),
    )


def _tested(inference_mode: str, results: Sequence[Result]) -> list[Metrics]:
    return [result["metrics"]["test"][inference_mode] for result in results if result["metrics"]]


def _binomial(accuracy: float, images: int) -> float | None:
    return math.sqrt(accuracy * (1 - accuracy) / images) if 0 < accuracy < 1 else None


def _training_macs(result: Result) -> int | None:
    return result["network"].get("training_macs") if result["network"] else None


def _milliseconds(result: Result) -> float | None:
    return result["network"].get("milliseconds") if result["network"] else None


def _images_per_second(result: Result, stage: Literal["training", "inference"]) -> float | None:
    return result["images_per_second"][stage] if "images_per_second" in result else None


def _mean_or_none(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _blank_row(run: Run) -> Row:
    result = run[1]
    status, error = status_of(run)
    status = "not tested" if status == "finished" else status
    return Row(result["experiment"], result["variant"], result["inference_mode"], (result["seed"],), status, error)
