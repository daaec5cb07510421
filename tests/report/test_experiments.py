from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.report import bootstrap
from fpcn_lightning.report.experiments import Experiment, read_experiments
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.rows import Row
from fpcn_lightning.runs.results import write_result
from tests.report.run_folders import leave_plan, leave_run
from tests.report.test_bootstrap import sample_of
from tests.runs.test_results import make_failed, make_metrics

IMAGES = 80
REPORT = {"report": {"reference": "full", "paper": {"mask": 92.0}, "source": "Table 3"}}


def predictions_of(seed: int, chance: float = 0.7) -> np.ndarray:
    drawn: np.ndarray = (np.random.default_rng(seed).random(IMAGES) < chance).astype(int)
    return drawn


def leave(folder: Path, variant: str, seed: int, right: np.ndarray, **changes: Any) -> None:
    place = folder / variant / f"seed-{seed}"
    leave_run(place, right, variant=variant, seed=seed, **({"config": REPORT} | changes))


def only(folder: Path) -> Experiment:
    (experiment,) = read_experiments(folder)
    return experiment


def rows_by_variant(experiment: Experiment) -> dict[str, Row]:
    return {row.variant: row for row in experiment.rows}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in (0, 1):
        leave(tmp_path, "full", seed, predictions_of(seed, 0.8))
        leave(tmp_path, "mask", seed, predictions_of(10 + seed))
    return tmp_path


def test_rows_carry_intervals_differences_and_the_papers_value(folder: Path) -> None:
    rows = rows_by_variant(only(folder))
    mask = sample_of([predictions_of(10), predictions_of(11)])
    full = sample_of([predictions_of(0, 0.8), predictions_of(1, 0.8)])

    mean, gain = bootstrap.mean(mask), bootstrap.difference(mask, full)
    assert rows["mask"].accuracy == pytest.approx(mean.value)
    assert (rows["mask"].accuracy_low, rows["mask"].accuracy_high) == (mean.low, mean.high)
    found = (rows["mask"].difference, rows["mask"].difference_low, rows["mask"].difference_high)
    assert found == (gain.value, gain.low, gain.high)
    assert (rows["mask"].reference, rows["mask"].paper) == ("full", 0.92)
    assert (rows["full"].reference, rows["full"].difference, rows["full"].paper) == ("full", None, None)


def test_predictions_belong_to_the_configured_inference_mode_alone(tmp_path: Path) -> None:
    right = predictions_of(0)
    inference_modes = {"unmasked": make_metrics(20, IMAGES), "as_trained": make_metrics(int(right.sum()), IMAGES)}
    leave(tmp_path, "mask", 0, right, metrics={"val": {}, "test": inference_modes})
    first, second = only(tmp_path).rows
    assert (first.inference_mode, second.inference_mode) == ("as_trained", "unmasked")
    assert first.accuracy_low is not None
    assert first.paper == 0.92
    assert (second.accuracy, second.accuracy_low, second.paper) == (0.25, None, None)
    assert any(note.startswith("An inference mode is") for note in notes(only(tmp_path)))


def test_groups_of_the_split_are_drawn_as_a_whole(tmp_path: Path) -> None:
    right, groups = np.repeat(predictions_of(0)[:20], 4), [f"specimen {number // 4}" for number in range(IMAGES)]
    leave(tmp_path / "groups", "full", 0, right, groups=groups)
    leave(tmp_path / "none", "full", 0, right)
    (with_groups,), (without,) = only(tmp_path / "groups").rows, only(tmp_path / "none").rows
    assert with_groups.accuracy_low is not None
    assert without.accuracy_low is not None
    assert with_groups.accuracy_low < without.accuracy_low
    assert any("20 draws, not 80" in note for note in notes(only(tmp_path / "groups")))
    assert not any("draws, not" in note for note in notes(only(tmp_path / "none")))


def change_names(folder: Path) -> None:
    for name in ("test_predictions.csv", "split.csv"):
        path = folder / name
        path.write_text(path.read_text(encoding="utf-8").replace("0003.jpg", "new.jpg"), encoding="utf-8")


def change_fingerprint(folder: Path) -> None:
    path = folder / "result.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"fingerprint": "abc"', '"fingerprint": "xyz"'))


@pytest.mark.parametrize("change", [change_names, change_fingerprint])
def test_other_test_pictures_are_not_comparable(folder: Path, change: Any) -> None:
    for seed in (0, 1):
        change(folder / "mask" / f"seed-{seed}")
    experiment = only(folder)
    row = rows_by_variant(experiment)["mask"]
    assert (row.difference, row.accuracy_low is None) == (None, False)
    assert "mask is not comparable with full: they were tested on different pictures." in experiment.remarks


def test_common_seeds_are_named(folder: Path) -> None:
    leave(folder, "mask", 2, predictions_of(12))
    experiment = only(folder)
    row = rows_by_variant(experiment)["mask"]
    assert row.seeds == (0, 1, 2)
    full = np.mean([predictions_of(0, 0.8), predictions_of(1, 0.8)])
    assert row.difference == pytest.approx(np.mean([predictions_of(10), predictions_of(11)]) - full)
    assert any(remark.endswith("shares with full: seeds 0, 1.") for remark in experiment.remarks)


def test_what_is_not_there_is_said_and_costs_nobody_else(folder: Path) -> None:
    (folder / "mask" / "seed-1" / "test_predictions.csv").unlink()
    leave(folder, "center", 0, predictions_of(3))
    leave(folder, "center", 1, predictions_of(4), config=REPORT | {"extra": 1})
    failed = make_failed(variant="alpha", seed=0)
    write_result(folder / "alpha" / "seed-0", failed)
    leave_plan(folder, [("full", 0), ("full", 1), ("mask", 0), ("alpha", 0), ("alpha", 7)], "the command")

    experiment = only(folder)

    assert [(row.variant, row.seeds, row.status, row.accuracy_low is None) for row in experiment.rows] == [
        ("full", (0, 1), "finished", False),
        ("mask", (0, 1), "finished", True),
        ("alpha", (0,), "failed", True),
        ("alpha", (7,), "missing", True),
        ("center", (0, 1), "not averaged", True),
    ]
    said = " ".join(notes(experiment))
    assert all(part in said for part in ("No interval for mask: ", "center is not averaged: 'extra' is 'absent'"))
    assert experiment.commands == ("the command",)


def test_without_its_reference_a_table_has_no_differences(tmp_path: Path) -> None:
    leave(tmp_path, "mask", 0, predictions_of(0))
    experiment = only(tmp_path)
    assert experiment.reference is None
    assert [row.difference for row in experiment.rows] == [None]
    assert any("the reference full has no predictions" in remark for remark in experiment.remarks)


def test_each_experiment_has_its_own_reference(tmp_path: Path) -> None:
    for name, reference in (("a", "full"), ("b", "mask")):
        for number, variant in enumerate(("full", "mask")):
            config = {"report": {"reference": reference}}
            leave(tmp_path / name, variant, 0, predictions_of(number), experiment=name, config=config)
    found = [[(row.variant, row.difference is None) for row in each.rows] for each in read_experiments(tmp_path)]
    assert found == [[("full", True), ("mask", False)], [("full", False), ("mask", True)]]


def test_a_remark_is_the_first_row_s_of_its_variant(folder: Path) -> None:
    remarks = {"mask": "one\n  sentence", "nobody": "is not there", "lost": "it is not comparable"}
    config = {"report": {"remarks": remarks, "paper": {"mask": 92}}}
    inference_modes = {name: make_metrics(int(predictions_of(10).sum()), IMAGES) for name in ("as_trained", "unmasked")}
    leave(folder, "mask", 0, predictions_of(10), config=config, metrics={"val": {}, "test": inference_modes})
    leave(folder, "full", 0, predictions_of(0), config=config, started="2025-01-01T00:00:00+00:00")
    leave_plan(folder, [("full", 0), ("mask", 0), ("lost", 0), ("lost", 1)])
    experiment = only(folder)
    found = [(row.variant, row.inference_mode, row.remark) for row in experiment.rows if row.remark]
    assert found == [("mask", "as_trained", "one sentence"), ("lost", None, "it is not comparable")]
    said = notes(experiment)
    assert "(a) mask: one sentence" in said
    assert "(b) lost: it is not comparable" in said
    assert not any("is not there" in note for note in said)


@pytest.mark.parametrize(
    ("reach", "found"),  # the curve of seed s is 0.4, 0.5, 0.6, 0.7, and s points more
    [(0.4, (1.0, 3)), (0.61, (10 / 3, 3)), (0.715, (4.0, 1)), (0.9, (None, 0))],
)
def test_epochs_to_reach_an_accuracy_are_means_over_those_that_do(
    tmp_path: Path, reach: float, found: tuple[float | None, int]
) -> None:
    for seed in range(3):
        leave(tmp_path, "full", seed, predictions_of(seed), config={"report": {"reach": reach}})
    (row,) = only(tmp_path).rows
    assert (row.target_accuracy, row.seeds_at_target) == (reach, found[1])
    assert row.epochs_to_target == (None if found[0] is None else pytest.approx(found[0]))


def test_where_a_curve_is_missing_nobody_knows_how_many_reach(tmp_path: Path) -> None:
    for seed in (0, 1):
        leave(tmp_path, "full", seed, predictions_of(seed), config={"report": {"reach": 0.5}})
    (tmp_path / "full" / "seed-1" / "metrics.csv").unlink()
    (row,) = only(tmp_path).rows
    assert (row.target_accuracy, row.epochs_to_target, row.seeds_at_target) == (0.5, None, None)
    assert not any("Epochs" in note for note in notes(only(tmp_path)))


def test_an_accuracy_that_is_no_share_costs_only_its_column(tmp_path: Path) -> None:
    leave(tmp_path, "full", 0, predictions_of(0), config={"report": {"reach": 80}})
    experiment = only(tmp_path)
    assert [(row.target_accuracy, row.accuracy_low is None) for row in experiment.rows] == [(None, False)]
    assert any("report.reach=80 is not between 0 and 1" in remark for remark in experiment.remarks)


def test_notes_say_what_never_and_some_of_the_seeds_mean(tmp_path: Path) -> None:
    for variant, reach in (("some", 0.71), ("all", 0.5), ("none", 0.9)):
        for seed in (0, 1):
            config = {"report": {"reach": reach}}
            leave(tmp_path / variant, variant, seed, predictions_of(seed), experiment=variant, config=config)
    every, none, some = (" ".join(notes(each)) for each in read_experiments(tmp_path))
    assert all("are counted from 1" in said for said in (every, none, some))
    assert [("'never'" in said, "'2 of 3" in said) for said in (every, none, some)] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_what_a_picture_costs_is_said_with_the_device(folder: Path) -> None:
    assert not any(word in note for note in notes(only(folder)) for word in ("GMAC", "a second", "ms is"))
    network = {
        "parameters": 1,
        "macs": 5,
        "input_size": 64,
        "weights": "none",
        "training_macs": 20,
        "milliseconds": 7.5,
    }
    speeds = {"training": 3.0, "inference": 9.0}
    for seed in (0, 1):
        changes = {"network": network, "images_per_second": speeds, "device": "1 x H100"}
        leave(folder, "mask", seed, predictions_of(10 + seed), **changes)
    said = " ".join(notes(only(folder)))
    assert "training GMAC those of the forward pass" in said
    assert "on a CPU by one thread; measured on 1 x H100." in said
    assert "measured on 1 x H100. Speeds of runs that shared a machine" in said


def test_a_damaged_record_costs_nobody_else_and_is_named(folder: Path) -> None:
    (folder / "mask" / "seed-1" / "result.json").write_text("{", encoding="utf-8")
    foreign = folder / "elsewhere" / "result.json"
    foreign.parent.mkdir()
    foreign.write_text('{"score": 3}', encoding="utf-8")
    leave_plan(folder, [("full", 0), ("full", 1), ("mask", 0), ("mask", 1)])
    experiment = only(folder)
    assert [(row.variant, row.seeds, row.status) for row in experiment.rows] == [
        ("full", (0, 1), "finished"),
        ("mask", (0,), "finished"),
        ("mask", (1,), "missing"),
    ]
    skipped = [remark for remark in experiment.remarks if remark.startswith("Skipped: ")]
    assert [str(place) in remark for place, remark in zip((foreign, "seed-1"), skipped, strict=True)] == [True, True]


def test_nothing_but_damage_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"result\.json is damaged"):
        read_experiments(tmp_path)


def test_notes_name_what_differs_between_runs(folder: Path) -> None:
    assert not any("devices" in note or "commits" in note for note in notes(only(folder)))
    code = {"version": "0.1.0", "commit": "c0ffee" * 6, "dirty": True}
    leave(folder, "mask", 1, predictions_of(11), code=code, device="1 x H100", seen_in_training=3)
    said = " ".join(notes(only(folder)))
    parts = ("2 commits: c0ffeec0ffee, no commit", "1 of 4 runs come from a checkout", "1 x H100; cpu", "Table 3")
    assert all(part in said for part in (*parts, "80 pictures", "pictures that they were trained on"))


def test_notes_say_how_much_an_interval_holds(folder: Path, tmp_path: Path) -> None:
    assert any("fewer than five seeds" in note for note in notes(only(folder)))
    leave(tmp_path / "alone", "full", 0, predictions_of(0))
    alone = " ".join(notes(only(tmp_path / "alone")))
    assert "Where there is one seed, only pictures are drawn" in alone
    assert "draw test pictures with replacement" in alone


def test_a_folder_without_runs_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no result"):
        read_experiments(tmp_path)
    leave_plan(tmp_path, [("mask", 0)])
    assert [row.status for row in only(tmp_path).rows] == ["missing"]
