"""Rows within groups: each is compared with the baseline of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.notes import notes
from tests.report.run_folders import leave_run
from tests.report.test_bootstrap import sample_of
from tests.report.test_experiments import only, predictions_of, rows_by_variant


def leave(
    folder: Path, name: str, predictions: dict[int, np.ndarray], condition: str | None = None, **settings: Any
) -> None:
    """A variant called GROUP-CONDITION, or a condition with another name."""
    group = name.partition("-")[0]
    within = {"group": group, "condition": condition or name.partition("-")[2], "baseline": "scratch"}
    for seed, right in predictions.items():
        config = {"report": {"within": within, **settings}, "model": {"name": name}}
        leave_run(folder / name / f"seed-{seed}", right, variant=name, seed=seed, config=config)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("swin-tuned", "swin-scratch", "resnet-tuned", "resnet-scratch")):
        leave(tmp_path, name, {seed: predictions_of(10 * number + seed) for seed in (0, 1)})
    return tmp_path


@pytest.mark.parametrize(("group", "first"), [("swin", 0), ("resnet", 20)])
def test_each_row_is_compared_with_the_baseline_of_its_own_group(folder: Path, group: str, first: int) -> None:
    rows = rows_by_variant(only(folder))
    tuned, scratch = (
        sample_of([predictions_of(first + offset), predictions_of(first + offset + 1)]) for offset in (0, 10)
    )
    gain = bootstrap.difference(tuned, scratch)
    row, baseline = rows[f"{group}-tuned"], rows[f"{group}-scratch"]
    assert (row.difference, row.difference_low, row.difference_high) == (gain.value, gain.low, gain.high)
    assert (row.group, row.condition, row.reference) == (group, "tuned", f"{group}-scratch")
    assert (baseline.condition, baseline.reference, baseline.difference) == ("scratch", f"{group}-scratch", None)


def test_notes_name_the_baselines(folder: Path) -> None:
    said = (
        "Differences are to the baseline of the same group: resnet-scratch (scratch) in resnet; swin-scratch (scratch)"
    )
    assert any(note.startswith(said) for note in notes(only(folder)))


def test_more_than_two_conditions_and_rows_outside_of_all_groups(folder: Path) -> None:
    leave(folder, "swin-frozen", {0: predictions_of(50), 1: predictions_of(51)})
    leave_run(folder / "lenet", predictions_of(60), variant="lenet")
    rows = rows_by_variant(only(folder))
    assert rows["swin-frozen"].reference == "swin-scratch"
    assert rows["swin-frozen"].difference is not None
    assert (rows["lenet"].group, rows["lenet"].reference, rows["lenet"].difference) == (None, None, None)
    assert rows["lenet"].accuracy_low is not None


def test_a_group_without_its_baseline_has_no_differences(folder: Path) -> None:
    (folder / "swin-scratch" / "seed-0" / "split.csv").unlink()
    experiment = only(folder)
    rows = rows_by_variant(experiment)
    assert (rows["swin-tuned"].difference, rows["resnet-tuned"].difference is None) == (None, False)
    said = "No differences in the group swin: the condition scratch has no predictions to compare with."
    assert said in experiment.remarks


def test_two_rows_cannot_both_be_the_baseline(folder: Path) -> None:
    leave(folder, "swin-again", {0: predictions_of(50), 1: predictions_of(51)}, condition="scratch")
    experiment = only(folder)
    assert rows_by_variant(experiment)["swin-tuned"].difference is None
    assert any("swin-again, swin-scratch all have the condition scratch" in remark for remark in experiment.remarks)


def test_a_reference_and_groups_exclude_each_other(folder: Path) -> None:
    for name, first in (("swin-tuned", 0), ("swin-scratch", 10)):
        leave(folder, name, {seed: predictions_of(first + seed) for seed in (0, 1)}, reference="resnet-scratch")
        for name_of_other in ("resnet-tuned", "resnet-scratch"):
            leave(folder, name_of_other, {0: predictions_of(20)}, reference="resnet-scratch")
    experiment = only(folder)
    assert experiment.reference is None
    assert rows_by_variant(experiment)["swin-tuned"].reference == "swin-scratch"
    said = [remark for remark in experiment.remarks if "exclude each other" in remark]
    assert said == [
        "report.reference and report.within exclude each other: differences are to the baseline of each group, not to "
        "resnet-scratch."
    ]
