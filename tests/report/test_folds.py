"""The folds of a cross-validation, counted as one test of all their pictures."""

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.experiments import Experiment, read_experiments
from fpcn_lightning.report.folds import are_folds, macro_f1
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.verdict import experiment_verdict
from fpcn_lightning.runs.results import find_results
from tests.report.run_folders import CLASSES, leave_run
from tests.report.test_bootstrap import sample_of

PARTS = {"plain": ([1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1, 0]), "fpcn": ([1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 1, 0])}


def leave_fold(root: Path, variant: str, fold: int, *, first: int | None = None, **config: Any) -> Path:
    """The run of a fold, whose test pictures are numbered from `first` on; the pictures of the others train."""
    parts = PARTS[variant]
    start = sum(map(len, parts[:fold])) if first is None else first
    right, folder = parts[fold], root / variant / f"seed-{fold}"
    images = {"train": 100, "val": 20, "test": len(right)}
    data = {"classes": CLASSES, "fingerprint": f"fold {fold}", "images": images, "refused": 0}
    own = {"report": {"reference": "plain"}, "data": {"root": f"fold-{fold}.csv"}, **config}
    leave_run(folder, right, variant=variant, seed=fold, config=own, data=data)
    for name in ("test_predictions.csv", "split.csv"):
        path = folder / name
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"\d{4}(?=\.jpg)", lambda found: f"{int(found[0]) + start:04}", text), encoding="utf-8")
    with (folder / "split.csv").open("a", newline="", encoding="utf-8") as file:
        others = set(range(sum(map(len, parts)))) - set(range(start, start + len(right)))
        csv.writer(file).writerows(
            [f"{number:04}.jpg", "basalt", "train", f"digest of {number}", ""] for number in sorted(others)
        )
    return folder


def only(root: Path) -> Experiment:
    (experiment,) = read_experiments(root)
    return experiment


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for variant in PARTS:
        for fold in range(3):
            leave_fold(tmp_path, variant, fold)
    return tmp_path


def test_each_picture_counts_once(root: Path) -> None:
    experiment = only(root)
    rows = {row.variant: row for row in experiment.rows}
    plain, fpcn = (sample_of([np.concatenate(PARTS[variant])]) for variant in ("plain", "fpcn"))
    assert (rows["plain"].images, rows["plain"].accuracy) == (13, 8 / 13)
    assert (rows["plain"].accuracy_deviation, rows["plain"].seeds) == (None, (0, 1, 2))
    assert rows["plain"].accuracy_standard_error == pytest.approx((8 / 13 * 5 / 13 / 13) ** 0.5)
    gain = bootstrap.difference(fpcn, plain)
    found = (rows["fpcn"].difference, rows["fpcn"].difference_low, rows["fpcn"].difference_high)
    assert found == (gain.value, gain.low, gain.high)
    assert experiment_verdict(experiment)[0].startswith("Best is plain with 61.5 % of 13 test pictures")
    said = " ".join(notes(experiment))
    assert "folds of a cross-validation" in said
    assert "one seed" not in said


def test_the_f1_score_is_that_of_all_pictures(root: Path) -> None:
    (row,) = (row for row in only(root).rows if row.variant == "plain")
    tested = [result["metrics"]["test"]["as_trained"] for result in row.results if result["metrics"]]
    confusion = np.sum([each["confusion"] for each in tested], axis=0)
    true = np.repeat([0, 1], confusion.sum(axis=1))
    predicted = np.concatenate([np.repeat([0, 1], counts) for counts in confusion])
    assert row.macro_f1 == pytest.approx(f1_score(true, predicted, average="macro"))
    assert macro_f1([[3, 1, 0], [0, 2, 0], [0, 0, 0]]) == pytest.approx((6 / 7 + 4 / 5) / 2)


@pytest.mark.parametrize("reason", ["same pictures", "others", "no split", "one"])
def test_other_runs_are_no_folds(tmp_path: Path, reason: str) -> None:
    folder = leave_fold(tmp_path, "plain", 0)
    if reason != "one":
        leave_fold(tmp_path, "plain", 1, first={"same pictures": 2, "others": 50}.get(reason))
    if reason == "no split":
        (folder / "split.csv").unlink()
    assert not are_folds(find_results(tmp_path))
    if reason != "one":
        assert only(tmp_path).rows[0].status == "not averaged"


def test_folds_of_different_configs_are_not_counted_together(tmp_path: Path) -> None:
    leave_fold(tmp_path, "plain", 0)
    leave_fold(tmp_path, "plain", 1, loss={"center": 0.1})
    (row,) = only(tmp_path).rows
    assert row.status == "not averaged"
    assert "'loss.center'" in str(row.error)
