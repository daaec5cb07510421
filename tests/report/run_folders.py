"""Run folders as training leaves them, made up: which pictures are predicted rightly is given, not learned."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fpcn_lightning.runs.results import Result, write_result
from tests.runs.test_results import make_metrics, make_result

CLASSES = ["basalt", "гранит"]


def leave_run(
    folder: Path,
    correct: ArrayLike,
    *,
    variant: str = "plain",
    seed: int = 0,
    groups: Sequence[str] | None = None,
    object_ratio: Iterable[Any] | None = None,
    true_object_ratio: Iterable[Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """Write result.json, test_predictions.csv, split.csv and metrics.csv of a run with these right predictions."""
    right = np.asarray(correct, dtype=int)
    result = make_result(variant, seed)
    result["data"] = {
        "classes": CLASSES,
        "fingerprint": "abc",
        "images": {"train": 100, "val": 20, "test": len(right)},
        "refused": 0,
    }
    metrics = make_metrics(int(right.sum()), len(right))
    result["metrics"] = {"val": {"as_trained": metrics}, "test": {"as_trained": metrics}}
    result["config"] |= config or {}
    result.update(changes)  # type: ignore[typeddict-item]
    write_result(folder, result)
    unknown = [""] * len(right)
    ratios = [unknown if each is None else list(each) for each in (object_ratio, true_object_ratio)]
    save_predictions(folder, right, *ratios)
    leave_split(folder, groups or unknown)
    epochs = (f"{epoch},{0.4 + 0.1 * epoch + 0.01 * seed},{1 / (1 + epoch)}\n" for epoch in range(4))
    (folder / "metrics.csv").write_text("epoch,val/accuracy,val/loss\n" + "".join(epochs), encoding="utf-8")
    return result


def save_predictions(folder: Path, correct: ArrayLike, found: Sequence[Any], true: Sequence[Any]) -> None:
    """The worst first, as training writes them: the reader must sort."""
    rows = [
        [f"{number:04}.jpg", "basalt", CLASSES[0 if right else 1], 0.75, found[number], true[number], 0.75, 0.25]
        for number, right in enumerate(np.asarray(correct))
    ]
    rows.sort(key=lambda row: row[2], reverse=True)
    header = ["name", "label", "predicted", "confidence", "object_ratio", "true_object_ratio", *CLASSES]
    write_csv(folder / "test_predictions.csv", [header, *rows])


def leave_split(folder: Path, groups: Sequence[str]) -> None:
    rows = [[f"{number:04}.jpg", "basalt", "test", f"digest-{number}", group] for number, group in enumerate(groups)]
    rows.append(["trained.jpg", "basalt", "train", "digest-t", ""])
    write_csv(folder / "split.csv", [["name", "label", "split", "digest", "group"], *rows])


def leave_plan(folder: Path, jobs: Sequence[tuple[str, int]], command: str = "fpcn +experiment=demo") -> None:
    """`sweep.json` with a job for each variant and seed."""
    listed = [
        {"variant": name, "seed": seed, "folder": f"{name}/seed-{seed}", "overrides": [f"seed={seed}"]}
        for name, seed in jobs
    ]
    plan = {"schema": 1, "commands": [command], "jobs": listed}
    (folder / "sweep.json").write_text(json.dumps(plan), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
