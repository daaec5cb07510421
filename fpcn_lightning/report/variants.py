"""Runs sorted into variants: which may be averaged, which cannot, and which are missing."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.report.folds import OF_A_FOLD, are_folds
from fpcn_lightning.runs.plan import Plan
from fpcn_lightning.runs.results import Result, Run
from fpcn_lightning.runs.sameness import decisive


@dataclass(frozen=True)
class Variant:
    """The runs of one variant of an experiment, each by ascending seed.

    Attributes:
        tested: finished, with test results.
        others: failed, interrupted, still running, or finished without a test.
        missing: seeds that were planned and have no result.
        mismatch: why the tested runs must not be averaged; None where they may be.
        folds: whether the tested runs are the folds of a cross-validation, whose test pictures are counted together.
    """

    experiment: str
    name: str
    tested: tuple[Run, ...]
    others: tuple[Run, ...]
    missing: tuple[int, ...]
    mismatch: str | None
    folds: bool = False

    @property
    def inference_mode(self) -> str | None:
        """The configured inference mode; None where no run was tested."""
        return self.tested[0][1]["inference_mode"] if self.tested else None


def sort_into_variants(runs: Iterable[Run], plans: Sequence[tuple[Path, Plan]] = ()) -> list[Variant]:
    """Group runs by experiment and variant.

    Returns:
        By experiment; within one, planned variants in the order of their plan, then the others by name.
    """
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run[1]["experiment"], run[1]["variant"]].append(run)
    experiment_of = {folder: result["experiment"] for group in groups.values() for folder, result in group}
    planned: dict[tuple[str, str], list[int]] = {}
    for root, plan in plans:
        folders = [root / run.folder for run in plan.runs]
        # Where none of its runs is there, the name of the sweep's folder is that of the experiment.
        experiment = next((experiment_of[folder] for folder in folders if folder in experiment_of), root.name)
        for planned_run, folder in zip(plan.runs, folders, strict=True):
            missing = planned.setdefault((experiment, planned_run.variant), [])
            if folder not in experiment_of:
                missing.append(planned_run.seed)
    place = {key: position for position, key in enumerate(planned)}
    keys = sorted(groups.keys() | planned.keys(), key=lambda key: (key[0], place.get(key, len(place)), key[1]))
    return [_variant(*key, groups[key], planned.get(key, [])) for key in keys]


def _variant(experiment: str, name: str, runs: Sequence[Run], missing: Sequence[int]) -> Variant:
    ordered = sorted(runs, key=lambda run: (run[1]["seed"], run[0]))
    tested = tuple(run for run in ordered if _is_tested(run[1]))
    others = tuple(run for run in ordered if not _is_tested(run[1]))
    folds = are_folds(tested)
    return Variant(experiment, name, tested, others, tuple(sorted(missing)), _mismatch(tested, folds), folds)


def _is_tested(result: Result) -> bool:
    return result["status"] == "finished" and bool(result["metrics"] and result["metrics"]["test"])


def _mismatch(runs: Sequence[Run], folds: bool) -> str | None:
    """What keeps runs from being averaged: all must agree with the first in everything but the seed, used once.

    Folds of a cross-validation may differ in their split, and have one seed.
    """
    for folder, result in runs[1:]:
        first_folder, first = runs[0]
        expected, found = _identity(first), _identity(result)
        for key in sorted(expected.keys() | found.keys()):
            if not (folds and key in OF_A_FOLD) and expected.get(key, "absent") != found.get(key, "absent"):
                return (
                    f"'{key}' is {expected.get(key, 'absent')!r} in {first_folder} and "
                    f"{found.get(key, 'absent')!r} in {folder}"
                )
    folder_of_seed: dict[int, Path] = {}
    for folder, result in [] if folds else runs:
        twin = folder_of_seed.setdefault(result["seed"], folder)
        if twin is not folder:
            return f"{twin} and {folder} have the same seed {result['seed']}: one sample, not two"
    return None


def _identity(result: Result) -> dict[str, object]:
    """What must agree before two runs are averaged, by dotted key."""
    identity = {key: value for key, value in decisive(result["config"]).items() if key != "seed"}
    if result["data"]:
        identity["data fingerprint"] = result["data"]["fingerprint"]
    if result["network"]:
        identity["network parameters"] = result["network"]["parameters"]
        identity["network macs"] = result["network"]["macs"]
    return identity
