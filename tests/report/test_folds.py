"""The folds of a cross-validation, counted as one test of all their pictures."""

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
from fpcn_lightning.report.probe_findings import probe_findings
from fpcn_lightning.report.verdict import experiment_verdict
from fpcn_lightning.runs.results import ProbeFacts, find_results
from tests.report.run_folders import CLASSES, leave_run, write_csv
from tests.report.test_bootstrap import sample_of

PARTS = {"plain": ([1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 1, 1, 0]), "fpcn": ([1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 1, 0])}


def leave_fold(root: Path, variant: str, fold: int, *, first: int | None = None, **changes: Any) -> Path:
    """The run of a fold, whose test pictures are numbered from `first` on; the pictures of the others train."""
    parts = PARTS[variant]
    start = sum(map(len, parts[:fold])) if first is None else first
    right, folder = parts[fold], root / variant / f"seed-{fold}"
    splits = {key: changes.pop(key) for key in ("label", "digest", "dropped") if key in changes}
    images = {"train": 100, "val": 20, "test": len(right)}
    data = {"classes": CLASSES, "fingerprint": f"fold {fold}", "images": images, "refused": 0}
    config = {"report": {"reference": "plain"}, "data": {"root": f"fold-{fold}.csv"}, **changes.pop("config", {})}
    leave_run(folder, right, variant=variant, config=config, data=data, **{"seed": fold, **changes})
    path = folder / "test_predictions.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"\d{4}(?=\.jpg)", lambda found: f"{int(found[0]) + start:04}", text), encoding="utf-8")
    leave_splits(folder, range(start, start + len(right)), **splits)
    return folder


def leave_splits(
    folder: Path, tested: range, *, label: str = "basalt", digest: str = "digest", dropped: int = -1
) -> None:
    """`split.csv` of a fold: the label of the first picture, and the beginning of all digests, are given."""
    every = range(sum(map(len, PARTS["plain"])) + (dropped >= 0))
    splits = {number: "dropped" if number == dropped else "test" if number in tested else "train" for number in every}
    rows = [
        [f"{number:04}.jpg", "basalt" if number else label, split, f"{digest} {number}", ""]
        for number, split in splits.items()
    ]
    write_csv(folder / "split.csv", [["name", "label", "split", "digest", "group"], *rows])


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


def test_the_order_and_number_of_seeds_do_not_matter(tmp_path: Path) -> None:
    for fold in range(3):
        leave_fold(tmp_path, "plain", fold)
        leave_fold(tmp_path, "fpcn", fold, seed=0)
    rows = {row.variant: row for row in only(tmp_path).rows}
    assert (rows["fpcn"].images, rows["fpcn"].seeds) == (13, (0, 0, 0))
    assert rows["fpcn"].difference == pytest.approx(6 / 13 - 8 / 13)


@pytest.mark.parametrize("reason", ["missing", "tested twice", "no split", "another label", "another file", "one"])
def test_other_runs_are_no_folds(tmp_path: Path, reason: str) -> None:
    changes: dict[str, Any] = {"another label": {"label": "гранит"}, "another file": {"digest": "other"}}.get(
        reason, {}
    )
    folder = leave_fold(tmp_path, "plain", 0, **changes)
    if reason != "one":
        leave_fold(tmp_path, "plain", 1, first=2 if reason == "tested twice" else None)
    if reason not in ("one", "missing"):
        leave_fold(tmp_path, "plain", 2)
    if reason == "no split":
        (folder / "split.csv").unlink()
    assert not are_folds(find_results(tmp_path))
    if reason != "one":
        assert only(tmp_path).rows[0].status == "not averaged"


def test_a_picture_that_is_left_out_need_not_be_tested(tmp_path: Path) -> None:
    for fold in range(3):
        leave_fold(tmp_path, "plain", fold, dropped=13)
    assert are_folds(find_results(tmp_path))


@pytest.mark.parametrize("config", [{"loss": {"center": 0.1}}, {"data": {"split": {"val": 0.3}}}])
def test_folds_of_different_configs_are_not_counted_together(tmp_path: Path, config: dict[str, Any]) -> None:
    for fold in range(3):
        leave_fold(tmp_path, "plain", fold, config=config if fold == 2 else {})
    (row,) = only(tmp_path).rows
    assert row.status == "not averaged"
    assert next(iter(config)) in str(row.error)


def test_what_the_probe_gave_counts_pictures(tmp_path: Path) -> None:
    for fold, test in enumerate((0.5, 0.25, 0.6)):  # of 4, 4 and 5 pictures: 6 of 13
        leave_fold(
            tmp_path, "plain", fold, probe=ProbeFacts(strength=0.1, val=0.5, val_loss=1.0, test=test, chosen=False)
        )
    (sentence,) = probe_findings(only(tmp_path).variants)
    assert sentence.startswith("plain is 15.4 points above the linear probe of its backbone, which has 46.2 %")
