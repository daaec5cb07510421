"""`metrics.csv` goes on after an interruption, without repeated lines, and without what a power loss left in it."""

import csv
from pathlib import Path

import pytest

from fpcn_lightning.tracking.csv_log import CSVLog


def log(folder: Path, *steps: int, name: str = "train/loss", value: float = 1.0) -> None:
    """What a run logs that is killed afterwards."""
    logger = CSVLog(str(folder))
    logger.log_hyperparams({"seed": 0})
    for step in steps:
        logger.log_metrics({name: value, "epoch": step // 2}, step)


def rows(folder: Path) -> list[tuple[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [(row["step"], row["train/loss"]) for row in csv.DictReader(file)]


def test_a_resumed_run_replaces_the_lines_of_the_steps_that_it_trains_again(tmp_path: Path) -> None:
    log(tmp_path, 0, 1, 2, 3)
    log(tmp_path, 2, 3, 4, value=5.0)
    assert rows(tmp_path) == [("0", "1.0"), ("1", "1.0"), ("2", "5.0"), ("3", "5.0"), ("4", "5.0")]


def epochs(folder: Path) -> list[str]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def test_epochs_count_from_one_and_the_test_belongs_to_the_last(tmp_path: Path) -> None:
    log(tmp_path, 0, 1, 2, 3)
    log(tmp_path, 4, name="test/loss")  # Lightning passes the number of finished epochs, 2
    assert epochs(tmp_path) == ["1", "1", "2", "2", "2"]


def test_a_resumed_file_of_an_earlier_version_is_converted_once(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,train/loss\n,0,\n0,0,1.0\n0,1,1.0\n1,2,1.0\n", encoding="utf-8")
    for _ in range(2):
        log(tmp_path)
        assert epochs(tmp_path) == ["", "1", "1", "2"]
    log(tmp_path, 3)
    assert epochs(tmp_path) == ["", "1", "1", "2", "2"]


def test_until_the_resumed_run_logs_nothing_is_lost(tmp_path: Path) -> None:
    log(tmp_path, 0, 1)
    log(tmp_path)
    assert [step for step, _ in rows(tmp_path)] == ["0", "1"]


def test_a_later_column_keeps_the_earlier_lines(tmp_path: Path) -> None:
    log(tmp_path, 0)
    log(tmp_path, 1, name="val/loss")
    assert rows(tmp_path) == [("0", "1.0"), ("1", "")]


@pytest.mark.parametrize("damage", [b"\0" * 50, b"1,2\n", b"0,x,1.0\n", b"0,2", b"\xff\xff\n"])
def test_damaged_lines_are_removed_at_the_start(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    log(tmp_path, 0, 1)
    path = tmp_path / "metrics.csv"
    path.write_bytes(path.read_bytes() + damage)
    log(tmp_path, 2)
    assert [step for step, _ in rows(tmp_path)] == ["0", "1", "2"]
    assert b"\0" not in path.read_bytes()
    assert "1 damaged lines of" in caplog.text


def test_a_log_of_zeros_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"\0" * 1000)
    log(tmp_path, 0)
    assert [step for step, _ in rows(tmp_path)] == ["0"]
    assert (tmp_path / "metrics.csv.damaged").read_bytes() == b"\0" * 1000
