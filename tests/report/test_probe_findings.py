from pathlib import Path
from typing import Any

from fpcn_lightning.report.probe_findings import probe_findings
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import ProbeFacts
from tests.runs.test_results import make_result


def variant(name: str, *runs: tuple[int, float | None, bool], **changes: Any) -> Variant:
    """A variant of runs that have so many of 60 images right, with the accuracy of their probe, and whether it won."""
    tested = []
    for seed, (correct, probe, chosen) in enumerate(runs):
        result = make_result(name, seed, correct, **changes)
        result["probe"] = ProbeFacts(strength=0.1, val=0.5, val_loss=1.0, test=probe, chosen=chosen)
        tested.append((Path(f"seed-{seed}"), result))
    return Variant("experiment", name, tuple(tested), (), (), None)


IMAGES = 60  # of the test


def test_the_gain_is_a_mean_over_the_runs() -> None:
    [found] = probe_findings([variant("plain", (IMAGES, 0.5, False), (IMAGES // 2, 0.5, False))])
    assert found == (
        "plain is 25.0 points above the linear probe of its backbone, which has 50.0 % on the test pictures."
    )


def test_runs_that_end_with_the_probe_are_counted() -> None:
    below, ended = probe_findings([variant("plain", (IMAGES // 4, 0.5, False), (IMAGES // 2, 0.5, True))])
    assert below.startswith("plain is 12.5 points below the linear probe")
    assert ended.startswith("plain: in 1 of 2 runs no epoch was better than the probe")
    assert "fine-tuning did not pay" in ended


def test_probes_themselves_and_runs_without_a_probe_have_no_sentence() -> None:
    model = {"_target_": "fpcn_lightning.models.probe.Probe"}
    probe = variant("probe", (20, 0.5, True), config={**make_result()["config"], "model": model})
    untested = variant("plain", (20, None, False))
    plain = Variant("experiment", "plain", ((Path("seed-0"), make_result()),), (), (), None)
    assert probe_findings([probe, untested, plain]) == []
