from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.report.curves import epochs_to_reach, read_curves, validation_accuracy
from tests.report.test_figures import METRICS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metrics.csv").write_text(METRICS, encoding="utf-8")
    return tmp_path


def test_curves_are_means_by_epoch(folder: Path) -> None:
    curves = read_curves(folder / "metrics.csv")
    assert curves["lr-SGD"] == {1: pytest.approx(0.09), 2: 0.06}
    assert curves["val/accuracy"] == {1: 0.5, 2: 0.75, 3: 0.75}
    assert curves["train/loss"] == {1: 1.0, 2: 0.5, 3: 0.3}


def test_files_of_earlier_versions_and_of_this_one_give_the_same_curve(folder: Path) -> None:
    before = read_curves(folder / "metrics.csv")
    (folder / "metrics.csv").write_text("epoch,step,val/accuracy\n1,1,0.50\n2,3,0.75\n3,5,0.75\n", encoding="utf-8")
    assert read_curves(folder / "metrics.csv")["val/accuracy"] == before["val/accuracy"] == {1: 0.5, 2: 0.75, 3: 0.75}


def test_without_a_usable_file_nobody_knows_the_curve(folder: Path) -> None:
    assert validation_accuracy(folder) == {1: 0.5, 2: 0.75, 3: 0.75}
    assert validation_accuracy(folder / "nowhere") == {}
    (folder / "metrics.csv").write_text("epoch,val/accuracy\n0,high\n", encoding="utf-8")
    assert validation_accuracy(folder) == {}


@pytest.mark.parametrize(
    ("accuracy", "epochs"),
    [(0.0, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.7500001, 2), (0.76, None)],
)
def test_epochs_are_counted_from_one(folder: Path, accuracy: float, epochs: int | None) -> None:
    assert epochs_to_reach(validation_accuracy(folder), accuracy) == epochs


def test_it_is_the_first_time_that_counts_even_if_it_is_lost_again() -> None:
    assert epochs_to_reach({3: 0.9, 1: 0.1, 4: 0.2, 8: 0.95}, 0.8) == 3
    assert epochs_to_reach({1: float("nan"), 2: 0.8}, 0.8) == 2
    assert epochs_to_reach({}, 0.0) is None


@pytest.mark.parametrize(("right", "accuracy"), [(7, 0.7), (8, 0.8), (9, 0.9)])
def test_single_precision_costs_no_epoch(right: int, accuracy: float) -> None:
    """7 of 10 in the precision that is logged lies below the 0.7 of a config."""
    assert epochs_to_reach({1: float(np.float32(right) / np.float32(10))}, accuracy) == 1
