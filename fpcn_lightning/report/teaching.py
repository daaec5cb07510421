"""Teachers and students: how good each teacher is, and what it gave to its student, on the whole and by class."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.report.bootstrap import Estimate
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.formats import NOT_KNOWN, accuracy_cell, percent, seconds_cell, with_interval
from fpcn_lightning.report.rows import Row
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.runs.csv_text import formula_free
from fpcn_lightning.runs.results import Metrics, Result
from fpcn_lightning.runs.students import is_taught, student_of, validation_metrics

MOST_CLASSES = 40  # lines of the table by class, of one student
_COLUMNS = ("experiment", "student", "teacher", "class", "teacher_accuracy", "alone", "taught", "gain")
_FURTHER = ("gain_low", "gain_high", "teacher_validation", "alone_validation", "teacher_seconds", "runs_to_pay")
_NO_FURTHER = (None,) * len(_FURTHER)


@dataclass(frozen=True)
class Lesson:
    """A student with a teacher, and the same student alone.

    Attributes:
        teacher: its name.
        measured: the teacher's metrics on the test pictures of the student; None where they are not known.
        validated: its accuracy on the validation pictures, 0..1.
        taught: the row of the student with the teacher.
        alone: the row of the student without it; None where there is none.
        alone_validated: mean accuracy of those runs on the validation pictures.
        gain: accuracy with the teacher less that without it, on the same pictures and seeds.
        seconds: that the teacher's pass over all views took, in the run that stored its logits.
        runs_to_pay: after how many runs that pass costs less than a teacher that runs in every step: the views that it
            covers, by those that a run reads.
    """

    teacher: str
    measured: Metrics | None
    validated: float | None
    taught: Row
    alone: Row | None
    alone_validated: float | None
    gain: Estimate | None
    seconds: float | None
    runs_to_pay: float | None


def lessons_of(experiment: Experiment) -> list[Lesson]:
    """The students with a teacher that have a test result, in the order of their rows."""
    configured = {(variant.name, variant.inference_mode) for variant in experiment.variants}
    rows = [
        row for row in experiment.rows if row.accuracy is not None and (row.variant, row.inference_mode) in configured
    ]
    alone = [row for row in rows if not is_taught(row.results[0]["config"])]
    return [_lesson(experiment, row, alone) for row in rows if is_taught(row.results[0]["config"])]


def teacher_findings(lessons: Sequence[Lesson]) -> list[str]:
    """A sentence for each teacher that is below one of its students alone."""
    return list(dict.fromkeys(_findings(lessons)))


def teaching_table(lessons: Sequence[Lesson]) -> TextTable:
    """A line for each student with a teacher."""
    headings = (
        "student",
        "teacher",
        "teacher %",
        "alone %",
        "taught %",
        "gain",
        "teacher's pass (s)",
        "pays after",
        "runs",
    )
    lines = [
        [
            lesson.taught.variant,
            lesson.teacher,
            percent(_accuracy(lesson.measured)),
            NOT_KNOWN if lesson.alone is None else accuracy_cell(lesson.alone),
            accuracy_cell(lesson.taught),
            NOT_KNOWN if lesson.gain is None else with_interval(*_ends(lesson.gain)),
            seconds_cell(lesson.seconds),
            NOT_KNOWN if lesson.runs_to_pay is None else f"{lesson.runs_to_pay:.1f}",
            str(len(lesson.taught.results)),
        ]
        for lesson in lessons
    ]
    return TextTable(headings, lines, {"student": "text", "teacher": "text"})


def teaching_notes(lessons: Sequence[Lesson]) -> list[str]:
    """What the columns of the table are; nothing without lessons."""
    if not lessons:
        return []
    return [
        "A teacher's accuracy is that on the test pictures as its student sees them. Alone is the same student, with "
        "the same steps and views, without a teacher; the gain is in points of percent, with a 95 % interval. The "
        "teacher's pass is the time in which its logits were stored, once for all runs that read them. It pays after "
        "as many runs as the next column says: the views that were stored, by those that the training of a run reads, "
        "which a teacher that runs in every step would have to see."
    ]


def class_gains(lessons: Sequence[Lesson]) -> TextTable:
    """What each teacher passes on: of each class, the share that teacher, student alone and taught student recognise.

    Of many classes, those whose recognition changed most.
    """
    headings = ("student", "class", "pictures", "teacher %", "alone %", "taught %", "gain")
    lines = [[lesson.taught.variant, *line] for lesson in lessons for line in _class_lines(lesson)]
    return TextTable(headings, lines, {"student": "text", "class": "text"})


def teaching_csv(named: Sequence[tuple[str, Sequence[Lesson]]]) -> str:
    """A line for each student with a teacher, and one for each of its classes, for other programs; nothing rounded.

    Args:
        named: names of experiments, and their lessons.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*_COLUMNS, *_FURTHER))
    for experiment, lessons in named:
        for lesson in lessons:
            about = (experiment, lesson.taught.variant, lesson.teacher)
            gain = (None, None, None) if lesson.gain is None else _ends(lesson.gain)
            shares = (_accuracy(lesson.measured), lesson.alone and lesson.alone.accuracy, lesson.taught.accuracy)
            known = (lesson.validated, lesson.alone_validated, lesson.seconds, lesson.runs_to_pay)
            lines: list[tuple[object, ...]] = [(*about, None, *shares, *gain, *known)]
            lines += [(*about, name, *of_class, *_NO_FURTHER) for name, _, *of_class in _class_shares(lesson)]
            writer.writerows([[formula_free("" if cell is None else cell) for cell in line] for line in lines])
    return buffer.getvalue()


def _lesson(experiment: Experiment, row: Row, alone: Sequence[Row]) -> Lesson:
    student, fingerprint = student_of(row.results[0]["config"]), _fingerprint(row.results[0])
    partner = next(
        (
            other
            for other in alone
            if student_of(other.results[0]["config"]) == student and _fingerprint(other.results[0]) == fingerprint
        ),
        None,
    )
    facts = row.results[0].get("teaching")
    seconds = [float(each) for result in row.results if (each := result["seconds"].get("teacher")) is not None]
    return Lesson(
        teacher=_name(row.results[0]),
        measured=facts["test"] if facts else None,
        validated=_accuracy(facts["val"]) if facts else None,
        taught=row,
        alone=partner,
        alone_validated=None if partner is None else _validated(partner.results),
        gain=None if partner is None else experiment.difference(row, partner),
        seconds=max(seconds, default=None),
        runs_to_pay=None if facts is None else facts.get("runs_to_pay"),
    )


def _findings(lessons: Sequence[Lesson]) -> Iterator[str]:
    for lesson in lessons:
        pairs = (
            (_accuracy(lesson.measured), None if lesson.alone is None else lesson.alone.accuracy, "test"),
            (lesson.validated, lesson.alone_validated, "validation"),
        )
        for teacher, alone, split in pairs:
            if teacher is not None and alone is not None and teacher < alone:
                yield (
                    f"The teacher {lesson.teacher} ({percent(teacher)} % of the {split} pictures) is below its student "
                    f"{lesson.alone.variant if lesson.alone else ''} alone ({percent(alone)} %): no gain can be "
                    "expected from it."
                )
                break


def _class_lines(lesson: Lesson) -> Iterator[list[str]]:
    lines = _class_shares(lesson)
    if len(lines) > MOST_CLASSES:
        lines = sorted(lines, key=lambda line: -abs(line[-1] or 0))[:MOST_CLASSES]
    for name, pictures, teacher, alone, taught, gain in lines:
        yield [
            name,
            f"{pictures:,}",
            percent(teacher),
            percent(alone),
            percent(taught),
            with_interval(gain, None, None),
        ]


_ClassLine = tuple[str, int, float | None, float | None, float | None, float | None]


def _class_shares(lesson: Lesson) -> list[_ClassLine]:
    """By class with pictures: its name, their number, the share that teacher, alone and taught recognise, the gain."""
    data = lesson.taught.results[0]["data"]
    if data is None:
        return []
    taught = _recognised([_tested(result) for result in lesson.taught.results])
    alone = None if lesson.alone is None else _recognised([_tested(result) for result in lesson.alone.results])
    teacher = None if lesson.measured is None else _recognised([lesson.measured])
    pictures = np.array(_tested(lesson.taught.results[0])["confusion"]).sum(axis=1)
    found = []
    for number in np.flatnonzero(pictures).tolist():
        shares = [None if each is None else float(each[number]) for each in (teacher, alone, taught)]
        gain = None if shares[1] is None or shares[2] is None else shares[2] - shares[1]
        found.append((data["classes"][number], int(pictures[number]), shares[0], shares[1], shares[2], gain))
    return found


def _recognised(metrics: Sequence[Metrics]) -> NDArray[np.float64]:
    """The share [C] of each class that is recognised, over all seeds; 0 for a class without pictures."""
    counts = np.sum([np.array(each["confusion"]) for each in metrics], axis=0)
    shares: NDArray[np.float64] = counts.diagonal() / np.maximum(counts.sum(axis=1), 1)
    return shares


def _tested(result: Result) -> Metrics:
    assert result["metrics"] is not None
    assert result["inference_mode"] is not None
    return result["metrics"]["test"][result["inference_mode"]]


def _validated(results: Sequence[Result]) -> float | None:
    found = [metrics["accuracy"] for result in results if (metrics := validation_metrics(result)) is not None]
    return fmean(found) if found else None


def _accuracy(metrics: Metrics | None) -> float | None:
    return None if metrics is None else metrics["accuracy"]


def _fingerprint(result: Result) -> str | None:
    return result["data"]["fingerprint"] if result["data"] else None


def _name(result: Result) -> str:
    """The teacher by its variant and seed, or how many networks it is the mean of."""
    teacher = result.get("teacher") or {}
    members = teacher.get("members")
    if isinstance(members, list):
        names = dict.fromkeys(str(member.get("variant")) for member in members if isinstance(member, dict))
        return f"mean of {len(members)} ({', '.join(names)})"
    seed = teacher.get("seed")
    return str(teacher.get("variant") or "unknown") + ("" if seed is None else f", seed {seed}")


def _ends(gain: Estimate) -> tuple[float, float, float]:
    return gain.value, gain.low, gain.high
