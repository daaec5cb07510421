"""The first sentences of pages: who is best, by how much, and what chance explains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.report.experiments import read_experiments
from fpcn_lightning.report.verdict import experiment_verdict, run_verdict
from fpcn_lightning.runs.results import Metrics, read_result, write_result
from tests.report.run_folders import leave_plan, leave_run
from tests.runs.test_results import make_failed, make_metrics

REFERENCE = {"report": {"reference": "plain"}}


def metrics_of(confusion: list[list[int]]) -> Metrics:
    counts = np.array(confusion)
    return make_metrics(int(counts.trace()), int(counts.sum())) | {"confusion": confusion}


def judged(folder: Path, confusion: list[list[int]], **changes: Any) -> list[str]:
    """The verdict of a run with these counts, whose predictions are right as often."""
    counts = np.array(confusion)
    correct = np.arange(counts.sum()) < counts.trace()
    metrics = {"val": {}, "test": {"as_trained": metrics_of(confusion)}}
    leave_run(folder, correct, metrics=metrics, **changes)
    return run_verdict((folder, read_result(folder / "result.json")))


def test_a_run_is_better_than_chance_and_than_its_largest_class(tmp_path: Path) -> None:
    (sentence,) = judged(tmp_path, [[50, 10], [5, 35]])
    assert sentence.startswith("plain (seed 0) classifies 85.0 % of 100 test pictures correctly (95 % interval 7")
    assert sentence.endswith(
        "better than chance (50.0 %) and than always naming the most frequent class, basalt (60.0 %)."
    )


@pytest.mark.parametrize(
    ("confusion", "said"),
    [
        ([[52, 8], [37, 3]], ": no better than chance (50.0 %)."),
        ([[10, 50], [30, 10]], ": worse than chance (50.0 %)."),
        ([[85, 0], [13, 2]], "but no better than always naming the most frequent class, basalt (85.0 %)."),
        ([[60, 5], [0, 0]], "better than chance (50.0 %); all pictures are of one class, basalt."),
        ([[1, 0], [0, 1]], ": no better than chance (50.0 %)."),  # two pictures show nothing, though both are right
    ],
)
def test_a_run_that_shows_little_is_said_to(tmp_path: Path, confusion: list[list[int]], said: str) -> None:
    (sentence,) = judged(tmp_path, confusion)
    assert sentence.endswith(said)


def test_a_run_says_what_the_probe_gave_and_what_makes_it_optimistic(tmp_path: Path) -> None:
    probe = {"strength": 1.0, "val": 0.8, "val_loss": 0.5, "test": 0.8, "chosen": False}
    _, gain, seen = judged(tmp_path, [[50, 10], [5, 35]], probe=probe, seen_in_training=7)
    assert gain.startswith("plain is 5.0 points above the linear probe")
    assert seen == "7 of the 100 test pictures were used in training: the accuracy is optimistic."


def test_without_predictions_the_interval_is_that_of_the_counts(tmp_path: Path) -> None:
    judged(tmp_path, [[50, 10], [5, 35]])
    (tmp_path / "test_predictions.csv").unlink()
    (sentence,) = run_verdict((tmp_path, read_result(tmp_path / "result.json")))
    assert "(95 % interval 76.7 to 90.7 %)" in sentence


def test_runs_without_a_test_say_why() -> None:
    place = Path("run")
    assert run_verdict((place, make_failed())) == ["plain (seed 0) has no result: failed (the disk is full)."]
    assert run_verdict((place, make_failed(status="interrupted")))[0].endswith("the same command again to continue it.")
    metrics = {"val": {"as_trained": make_metrics()}, "test": {}}
    (sentence,) = run_verdict((place, make_failed(status="finished", metrics=metrics, inference_mode="as_trained")))
    assert "was not tested; it classifies 75.0 % of 60 validation pictures" in sentence
    assert "optimistic" in sentence


def sweep(folder: Path) -> list[str]:
    (experiment,) = read_experiments(folder)
    return experiment_verdict(experiment)


def leave(folder: Path, variant: str, correct: int, images: int = 200, **config: Any) -> None:
    right = np.random.default_rng(0).permutation(images) < correct
    half = images // 2
    counts = [
        [min(correct, half), half - min(correct, half)],
        [images - half - max(correct - half, 0), max(correct - half, 0)],
    ]
    metrics = {"val": {}, "test": {"as_trained": metrics_of(counts)}}
    leave_run(
        folder / variant / "seed-0",
        right,
        variant=variant,
        metrics=metrics,
        config=REFERENCE | {"model": {"name": variant}, **config},
    )


def test_the_best_row_leads_by_more_than_chance(tmp_path: Path) -> None:
    leave(tmp_path, "plain", 150)
    leave(tmp_path, "fpcn", 180)
    (sentence,) = sweep(tmp_path)
    assert sentence.startswith(
        "Best is fpcn with 90.0 % of 200 test pictures, 15.0 points above plain (75.0 %); chance does not explain it "
        "(95 % interval of the paired difference ["
    )


def test_a_small_lead_may_be_chance_and_the_reference_is_named_too(tmp_path: Path) -> None:
    for variant, correct in (("plain", 120), ("mask", 179), ("fpcn", 180)):
        leave(tmp_path, variant, correct)
    first, second = sweep(tmp_path)
    assert "0.5 points above mask (89.5 %); chance may explain it" in first
    assert second.startswith("Against the reference, 30.0 points above plain (60.0 %); chance does not explain it")


def test_equal_rows_are_all_named(tmp_path: Path) -> None:
    for variant in ("a", "b", "plain"):
        leave(tmp_path, variant, 180)
    assert sweep(tmp_path) == ["a, b and plain are best, with the same 90.0 % of 200 test pictures."]


def test_a_sweep_that_learned_nothing_says_so(tmp_path: Path) -> None:
    leave(tmp_path, "plain", 95)
    leave(tmp_path, "fpcn", 104)
    assert sweep(tmp_path)[1] == "Even the best row is no better than chance (50.0 %)."


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        (120, "Against the linear probe, fpcn is 30.0 points above probe"),
        (190, "No trained network is better than the linear probe (95.0 %)."),
    ],
)
def test_the_row_of_a_probe_is_what_training_must_beat(tmp_path: Path, probe: int, said: str) -> None:
    leave(tmp_path, "fpcn", 180)
    leave(tmp_path, "probe", probe, model={"_target_": "fpcn_lightning.models.probe.Probe"})
    assert sweep(tmp_path)[-1].startswith(said)


def test_a_single_row_is_judged_like_a_run(tmp_path: Path) -> None:
    leave(tmp_path, "fpcn", 180)
    (sentence,) = sweep(tmp_path)
    assert sentence.startswith("fpcn (seed 0) classifies 90.0 % of 200 test pictures correctly (95 % interval ")
    assert "better than chance (50.0 %) and than" in sentence


def test_groups_are_counted_by_what_chance_explains(tmp_path: Path) -> None:
    for group, condition, correct in (
        ("swin", "scratch", 100),
        ("swin", "tuned", 180),
        ("vit", "scratch", 150),
        ("vit", "tuned", 151),
    ):
        within = {"group": group, "condition": condition, "baseline": "scratch"}
        leave(tmp_path, f"{group}-{condition}", correct, report={"within": within})
    first, second = sweep(tmp_path)
    assert first == "Best is swin-tuned: 90.0 % of 200 test pictures."
    assert second.startswith("Of 2 comparisons with the baseline of a group, 1 are better and 0 are worse than chance")


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    leave(tmp_path, "fpcn", 180)
    write_result(tmp_path / "failed", make_failed(variant="failed"))
    leave_plan(tmp_path, [("fpcn", 0), ("lost", 1)])
    assert sweep(tmp_path)[-1] == "2 of 3 runs have no test result; the table says why."


def test_without_any_test_there_is_no_result(tmp_path: Path) -> None:
    write_result(tmp_path / "failed", make_failed(variant="failed"))
    assert sweep(tmp_path) == [
        "No run was tested, so there is no result.",
        "1 of 1 runs has no test result; the table says why.",
    ]
