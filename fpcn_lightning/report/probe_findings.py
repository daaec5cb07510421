"""What fine-tuning gave beyond a linear probe of the same backbone, in sentences."""

from collections.abc import Sequence
from statistics import fmean
from typing import cast

from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import Metrics, ProbeFacts, Result


def probe_findings(variants: Sequence[Variant]) -> list[str]:
    """A sentence for each variant whose runs fitted a probe, and one where runs ended with it.

    Accuracies are means over the seeds that have both, or over the pictures of all folds of a cross-validation.
    Variants without a test of the probe are left out.
    """
    found = []
    for variant in variants:
        results = [result for _, result in variant.tested if _tested_probe(result) is not None]
        if not results or all(is_a_probe(result) for result in results):
            continue
        found.append(_gain(variant.name, results))
        chosen = sum(_facts(result)["chosen"] for result in results)
        if chosen:
            found.append(
                f"{variant.name}: in {chosen} of {len(results)} runs no epoch was better than the probe on the "
                "validation split, so that fine-tuning did not pay and the run ended with the probe."
            )
    return found


def _gain(name: str, results: Sequence[Result]) -> str:
    tested = [_tested(result) for result in results]
    images = [each["images"] for each in tested]
    probe = 100 * fmean([cast(float, _tested_probe(result)) for result in results], images)
    gain = 100 * fmean([each["accuracy"] for each in tested], images) - probe
    direction = "above" if gain >= 0 else "below"
    return (
        f"{name} is {abs(gain):.1f} points {direction} the linear probe of its backbone, which has {probe:.1f} % on "
        "the test pictures."
    )


def _facts(result: Result) -> ProbeFacts:
    return cast(ProbeFacts, result.get("probe"))


def _tested_probe(result: Result) -> float | None:
    facts = result.get("probe")
    return None if facts is None else facts["test"]


def is_a_probe(result: Result) -> bool:
    """Whether the network of the run is itself a probe."""
    model = result["config"].get("model")
    return isinstance(model, dict) and str(model.get("_target_")).endswith(".Probe")


def _tested(result: Result) -> Metrics:
    assert result["metrics"] is not None
    assert result["inference_mode"] is not None
    return result["metrics"]["test"][result["inference_mode"]]
