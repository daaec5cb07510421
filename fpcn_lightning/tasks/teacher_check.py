"""Compares a teacher with its student alone before it teaches: one that is worse is refused."""

import logging
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from fpcn_lightning.config import Config
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.folders import experiment_folder
from fpcn_lightning.runs.recording import RunRecord
from fpcn_lightning.runs.results import Run, TeachingFacts, find_results
from fpcn_lightning.runs.students import runs_alone, validation_metrics

if TYPE_CHECKING:
    import torch

    from fpcn_lightning.modules.distillation import Distillation
    from fpcn_lightning.modules.floor import Floor

logger = logging.getLogger(__name__)


def check_teacher(
    config: Config, record: RunRecord, distillation: "Distillation", floor: "Floor | None", device: "torch.device"
) -> TeachingFacts:
    """Measure the teacher of a student on the validation split, and compare it with the student alone.

    The student alone are the finished runs of the same sweep that differ in the teacher and the seed only, and the
    linear probe that is its floor.

    Args:
        config: of the run.
        record: of the run, with its data.
        distillation: the teacher.
        floor: of the student.
        device: that the teacher runs on.

    Returns:
        What was found, for the record; it is in the record already.

    Raises:
        UserError: the teacher is worse, and `distillation.force` is not set.
    """
    sweep = experiment_folder(Path(config.output), config.name)
    alone = [
        metrics["accuracy"]
        for result in runs_alone(_runs(sweep), record.result)
        if (metrics := validation_metrics(result)) is not None
    ]
    facts = TeachingFacts(
        val=distillation.measured("val", device),
        test=None,
        alone=fmean(alone) if alone else None,
        alone_runs=len(alone),
        probe=None if floor is None else floor.facts["val"],
    )
    record.add(teaching=facts)
    problem = _problem(facts, sweep)
    if problem is None:
        return facts
    if not config.distillation or not config.distillation.force:
        raise UserError(
            f"{problem}. Pass a better teacher, or go on with distillation.force=true; in a sweep, force_teacher=true."
        )
    logger.warning("%s; distillation.force=true goes on", problem)
    return facts


def _runs(sweep: Path) -> list[Run]:
    return find_results(sweep, unreadable=[]) if sweep.is_dir() else []


def _problem(facts: TeachingFacts, sweep: Path) -> str | None:
    """Why the teacher should not teach; None if it should, or if nothing is known."""
    teacher = facts["val"]
    if teacher is None:
        logger.warning("the teacher cannot be measured on the views that the student is validated on")
        return None
    if facts["alone"] is None and facts["probe"] is None:
        logger.info("no finished run of the student alone below %s: the teacher is not compared with it", sweep)
        return None
    runs = f"{facts['alone_runs']} run{'s' if facts['alone_runs'] > 1 else ''}"
    rivals = (
        (facts["alone"], f"of its student alone (mean of {runs} below {sweep})"),
        (facts["probe"], "of the linear probe that is the floor of its student"),
    )
    best, name = max((value, name) for value, name in rivals if value is not None)
    if teacher["accuracy"] >= best:
        return None
    return (
        f"distillation.teacher has a validation accuracy of {100 * teacher['accuracy']:.1f} %, below the "
        f"{100 * best:.1f} % {name}: it cannot be expected to help (with {teacher['images']} pictures, a difference "
        f"below {200 * teacher['accuracy_standard_error']:.1f} points may be chance)"
    )
