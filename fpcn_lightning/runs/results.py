"""The record of a run: what `result.json` holds, and how it is read, written and found.

Every table and figure is made from these records and from nothing else. The TypedDicts below are the contract: reading
and writing both check a record against their annotations. Keys beyond the contract are kept, so that a task may add its
own. A record of schema version 1 is converted when it is read (`fpcn_lightning.runs.upgrade`).
"""

import json
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, cast

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.result_json import as_json, without_non_finite
from fpcn_lightning.runs.schema_check import check
from fpcn_lightning.runs.upgrade import upgrade_result

SCHEMA_VERSION: Literal[2] = 2
RESULT_NAME = "result.json"
_ROUNDING = 1e-6  # of a mean of shares in float32


class Seconds(TypedDict):
    """Wall-clock seconds of the run; a stage that did not take place is null.

    `teacher`: to store the teacher's logits, 0 where another run had stored them; `probe`: to fit the linear probe.
    """

    total: float | None
    fit: float | None
    test: float | None
    teacher: NotRequired[float | None]
    probe: NotRequired[float | None]


class Code(TypedDict):
    """The source that ran; commit and dirty are null outside a Git checkout."""

    version: str
    commit: str | None
    dirty: bool | None


class ImageCounts(TypedDict):
    """Images of each split."""

    train: int
    val: int
    test: int


class DataFacts(TypedDict):
    """The data set: class names in label order, fingerprint of the split, and the number of unreadable files.

    `published` has the folder below the root of each split that came with the data; without one it is absent or empty.
    """

    classes: list[str]
    fingerprint: str
    images: ImageCounts
    refused: int
    published: NotRequired[dict[str, str]]


class NetworkFacts(TypedDict):
    """Size of the deployed network: parameters, multiply-accumulates of one image, edge of the input in pixels.

    `training_macs` are the multiply-accumulates of the forward pass of one training step, for an image of its batch;
    `milliseconds` is the time of one view through the trained network (`fpcn_lightning.profiling.latency`) on the
    run's device.
    """

    parameters: int
    macs: int
    input_size: int
    weights: str
    training_macs: NotRequired[int]
    milliseconds: NotRequired[float]


class ImagesPerSecond(TypedDict):
    """Images a second on the run's device; what was not measured is null."""

    training: float | None
    inference: float | None


class Metrics(TypedDict):
    """One split under one inference mode: accuracy, F1 and recall in 0..1, loss in nats (null if it was not finite).

    `accuracy_standard_error` is binomial, sqrt(p (1 - p) / images); `confusion` has the true class in rows and the
    predicted class in columns.
    """

    accuracy: float
    accuracy_standard_error: float
    macro_f1: float
    macro_recall: float
    loss: float | None
    images: int
    confusion: list[list[int]]


class Evaluation(TypedDict):
    """Metrics of each split, keyed by inference mode: a way of inference that the network offers."""

    val: dict[str, Metrics]
    test: dict[str, Metrics]


class ProbeFacts(TypedDict):
    """A linear probe of the backbone that a run was trained from; accuracies in 0..1, losses in nats.

    `chosen` tells whether the run ended with it, because no epoch was better on the validation split; then `test` is
    also the accuracy of the run. `interpolation` is the share of the trained weights, 1 without an interpolation with
    those of the probe.
    """

    strength: float
    val: float
    val_loss: float
    test: float | None
    chosen: bool
    interpolation: NotRequired[float]


class TeachingFacts(TypedDict):
    """How good the teacher of a student is, and what it was compared with; accuracies in 0..1 on the validation split.

    `val` and `test` are the teacher's metrics on the student's views, `test` null where the run was not tested; `alone`
    is the mean over the runs of the sweep that trained the student without a teacher, `probe` that of its linear probe.
    `runs_to_pay`: views whose logits are stored by those that the training reads; null where none are stored.
    """

    val: Metrics | None
    test: Metrics | None
    alone: float | None
    alone_runs: int
    probe: float | None
    runs_to_pay: NotRequired[float | None]


class UnlabelledFacts(TypedDict):
    """Photographs without a class that a student learned from; `unlabelled.csv` of the run lists all with reasons."""

    used: int
    left_out: int
    fingerprint: str


class Result(TypedDict):
    """One run. `started` is an ISO 8601 time, `checkpoint` is relative to the run folder.

    `inference_mode` is the configured one. `seen_in_training` counts the pictures of an evaluation that the network was
    trained or selected on, where it is known. `teacher` identifies the teacher of a student, `teaching` says how good
    it is. `command` is the command line that starts this run again. Only a run that did not finish may lack data,
    network or metrics.
    """

    schema: Literal[2]
    experiment: str
    variant: str
    seed: int
    status: Literal["finished", "failed", "running", "interrupted"]
    error: str | None
    started: str
    seconds: Seconds
    code: Code
    packages: dict[str, str]
    device: str | None
    config: dict[str, object]
    config_hash: str
    data: DataFacts | None
    network: NetworkFacts | None
    metrics: Evaluation | None
    inference_mode: str | None
    checkpoint: str | None
    epochs: int | None
    images_per_second: NotRequired[ImagesPerSecond]
    seen_in_training: NotRequired[int | None]
    command: NotRequired[str | None]
    teacher: NotRequired[dict[str, object] | None]
    teaching: NotRequired[TeachingFacts | None]
    unlabelled: NotRequired[UnlabelledFacts | None]
    probe: NotRequired[ProbeFacts | None]


class DamagedResultError(UserError):
    """A `result.json` that is no complete record, such as one that a power loss has filled with zeros."""


Run = tuple[Path, Result]
"""A run folder and its record."""


def read_result(path: Path) -> Result:
    """Read one `result.json`.

    Raises:
        DamagedResultError: the file is damaged, or breaks the contract.
        UserError: it is missing, or has another schema version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except IsADirectoryError as error:
        raise DamagedResultError(f"{path} is a folder: move it away.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Check the path and its permissions.") from error
    except ValueError as error:
        raise DamagedResultError(
            f"{path} is damaged: {error}. Run this experiment again, or move the file away."
        ) from error
    version = record.get("schema") if isinstance(record, dict) else None
    if version == 1:
        record = upgrade_result(record)
    elif version is not None and version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema version {version!r}, this program reads versions 1 and {SCHEMA_VERSION}. "
            "Use the program version that wrote it, or run the experiment again."
        )
    try:
        return _checked(record)
    except ValueError as error:
        raise DamagedResultError(
            f"{path} is not a complete result: {error}. Run this experiment again, or move the file away."
        ) from error


def find_results(root: Path, unreadable: list[str] | None = None) -> list[Run]:
    """Read every `result.json` at or below `root`.

    Args:
        root: the folder to look through.
        unreadable: takes the error message of each file that cannot be read, which is then skipped.

    Returns:
        (run folder, result) pairs sorted by experiment, variant, seed and folder; empty if there is no result.

    Raises:
        UserError: `root` is not a folder; or a file cannot be read, and there is no `unreadable`.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder. Name the folder that holds the runs, for example outputs.")
    found = []
    for path in sorted(root.rglob(RESULT_NAME)):
        try:
            found.append((path.parent, read_result(path)))
        except UserError as error:
            if unreadable is None:
                raise
            unreadable.append(str(error))
    return sorted(found, key=lambda run: (run[1]["experiment"], run[1]["variant"], run[1]["seed"], run[0]))


def write_result(folder: Path, result: Result) -> Path:
    """Write `result` as `folder/result.json`, replacing an earlier one in a single step, and return its path.

    JSON has no NaN or infinity: such numbers are written as null.

    Raises:
        ValueError: `result` breaks the contract; nothing is written.
    """
    record = without_non_finite(result)
    _checked(record)
    text = as_json(record) + "\n"
    # A path that is not UTF-8 holds surrogates, which are escaped in JSON in the same way as by `backslashreplace`.
    return write_text_atomically(folder / RESULT_NAME, text.encode("utf-8", "backslashreplace").decode())


def _checked(record: object) -> Result:
    check(record, Result)
    result = cast(Result, record)
    if result["status"] == "finished":
        absent = [key for key, value in result.items() if key in ("data", "network", "metrics") and value is None]
        if absent:
            raise ValueError(f"'{absent[0]}' is null although the run finished")
    classes = len(result["data"]["classes"]) if result["data"] else None
    for split, modes in (result["metrics"] or {}).items():
        for mode, metrics in cast(dict[str, Metrics], modes).items():
            _check_metrics(metrics, classes, f"metrics.{split}.{mode}")
    return result


def _check_metrics(metrics: Metrics, classes: int | None, where: str) -> None:
    for key in ("accuracy", "accuracy_standard_error", "macro_f1", "macro_recall"):
        if not 0 <= metrics[key] <= 1 + _ROUNDING:
            raise ValueError(f"'{where}.{key}' is not in 0..1")
    if (loss := metrics["loss"]) is not None and loss < 0:
        raise ValueError(f"'{where}.loss' is negative")
    matrix = metrics["confusion"]
    if classes is not None and (len(matrix) != classes or any(len(row) != classes for row in matrix)):
        raise ValueError(f"'{where}.confusion' is not {classes} rows of {classes} numbers")
    if metrics["images"] < 0 or min((min(row, default=0) for row in matrix), default=0) < 0:
        raise ValueError(f"'{where}' has a negative number of images")
    if sum(map(sum, matrix)) != metrics["images"]:
        raise ValueError(f"'{where}.confusion' does not count each of the {metrics['images']} images once")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
