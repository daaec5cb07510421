"""Tables and sentences about teachers and students."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.report.experiments import Experiment, read_experiments
from fpcn_lightning.report.teaching import (
    class_gains,
    lessons_of,
    teacher_findings,
    teaching_table,
)
from fpcn_lightning.report.verdict import experiment_verdict
from fpcn_lightning.report.write import write_report
from fpcn_lightning.runs.results import Metrics
from fpcn_lightning.runs.students import is_taught, student_of
from tests.report.run_folders import leave_run

MODEL = {"model": {"_target_": "Plain"}}
ALONE = {**MODEL, "distillation": None, "loss": {"classification": {"weight": 1.0}}}
TAUGHT = {**MODEL, "distillation": {"method": "kd", "weight": 0.5}, "loss": {"classification": {"weight": 0.5}}}


def metrics(confusion: list[list[int]]) -> Metrics:
    counts = np.array(confusion)
    accuracy = float(counts.trace() / counts.sum())
    images = int(counts.sum())
    return {
        "accuracy": accuracy,
        "accuracy_standard_error": 0.1,
        "macro_f1": accuracy,
        "macro_recall": accuracy,
        "loss": 1.0,
        "images": images,
        "confusion": confusion,
    }


def right(count: int) -> list[int]:
    return [1] * count + [0] * (20 - count)


def leave_students(folder: Path, teacher: Metrics, **changes: Any) -> Experiment:
    """A student alone with 10 and 12 of 20 right, the same taught with 13 and 15, and a student of another kind."""
    for seed in (0, 1):
        leave_run(folder / "alone" / f"seed-{seed}", right(10 + 2 * seed), variant="alone", seed=seed, config=ALONE)
        leave_run(
            folder / "taught" / f"seed-{seed}",
            right(13 + 2 * seed),
            variant="taught",
            seed=seed,
            config=TAUGHT,
            teacher={"variant": "fpcn", "seed": 7, "sha256": "00"},
            teaching={
                "val": teacher,
                "test": teacher,
                "alone": None,
                "alone_runs": 0,
                "probe": None,
                "runs_to_pay": 1.5,
            },
            seconds={"total": 60.0, "fit": 50.0, "test": 1.0, "teacher": 30.0 * (1 - seed)},
            **changes,
        )
    other = {**ALONE, "model": {"_target_": "Other"}}
    leave_run(folder / "other" / "seed-0", right(19), variant="other", config=other)
    (experiment,) = read_experiments(folder)
    return experiment


def test_a_student_is_compared_with_itself_alone(tmp_path: Path) -> None:
    experiment = leave_students(tmp_path, metrics([[9, 1], [1, 9]]))
    (lesson,) = lessons_of(experiment)
    assert lesson.alone is not None
    assert (lesson.taught.variant, lesson.alone.variant) == ("taught", "alone")
    assert lesson.gain is not None
    assert lesson.gain.value == pytest.approx(0.15)
    assert lesson.seconds == 30.0
    assert lesson.runs_to_pay == 1.5
    (line,) = teaching_table([lesson]).lines
    assert line[:3] == ["taught", "fpcn, seed 7", "90.0"]
    assert line[5].startswith("+15.0 [")
    assert line[7] == "1.5"
    assert teacher_findings([lesson]) == []


def test_a_teacher_below_its_student_alone_is_named(tmp_path: Path) -> None:
    experiment = leave_students(tmp_path, metrics([[5, 5], [5, 5]]))
    sentence = "The teacher fpcn, seed 7 (50.0 % of the test pictures) is below its student alone alone (55.0 %)"
    assert any(found.startswith(sentence) for found in experiment_verdict(experiment))


def test_classes_show_what_a_teacher_passes_on(tmp_path: Path) -> None:
    teacher = metrics([[10, 0], [5, 5]])
    experiment = leave_students(tmp_path, teacher)
    lessons = lessons_of(experiment)
    tested = [result["metrics"]["test"]["as_trained"]["confusion"] for result in lessons[0].taught.results]  # type: ignore[index]
    counts = np.sum(tested, axis=0)
    lines = class_gains(lessons).lines
    shares = counts.diagonal() / counts.sum(axis=1)
    assert [line[5] for line in lines] == [f"{100 * share:.1f}" for share in shares if not np.isnan(share)]
    assert lines[0][3] == "100.0"


def test_the_teacher_of_an_ensemble_is_named_by_its_members(tmp_path: Path) -> None:
    experiment = leave_students(tmp_path, metrics([[9, 1], [1, 9]]))
    (lesson,) = lessons_of(experiment)
    members = [{"variant": "fpcn"}, {"variant": "fpcn"}, {"variant": "probe"}]
    for result in lesson.taught.results:
        result["teacher"] = {"members": members}
    (again,) = lessons_of(experiment)
    assert again.teacher == "mean of 3 (fpcn, probe)"


def test_the_report_has_the_tables_and_removes_those_of_an_earlier_one(tmp_path: Path) -> None:
    experiment = leave_students(tmp_path / "runs", metrics([[9, 1], [1, 9]]))
    page = write_report([experiment], tmp_path).read_text()
    assert "Teachers and students" in page
    with (tmp_path / "teaching.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["gain"]) == pytest.approx(0.15)
    assert rows[0]["class"] == ""
    assert {row["class"] for row in rows[1:]} <= {"basalt", "гранит"}
    assert "| taught" in (tmp_path / "teaching.md").read_text()
    leave_run(tmp_path / "others" / "seed-0", right(9), variant="plain")
    assert "Teachers and students" not in write_report(read_experiments(tmp_path / "others"), tmp_path).read_text()
    assert not (tmp_path / "teaching.csv").exists()


def test_a_teacher_its_weight_and_the_seed_make_no_other_student() -> None:
    assert is_taught(TAUGHT)
    assert not is_taught(ALONE)
    assert student_of({**TAUGHT, "seed": 3}) == student_of({**ALONE, "seed": 0})
    assert student_of(TAUGHT) != student_of({**ALONE, "training": {"budget": "600steps"}})
