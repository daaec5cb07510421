"""The record of a run, `result.json`: written when the run starts and when it ends, also when it fails."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from fpcn_lightning.errors import ANOTHER_CONFIG, UserError, explain
from fpcn_lightning.runs.atomic_write import leftovers_in, write_text_atomically
from fpcn_lightning.runs.damaged import set_aside
from fpcn_lightning.runs.folders import PAGE_NAME
from fpcn_lightning.runs.invocation import Invocation, command_line
from fpcn_lightning.runs.lock import hold_lock
from fpcn_lightning.runs.provenance import code_of_package, versions_of
from fpcn_lightning.runs.results import (
    RESULT_NAME,
    SCHEMA_VERSION,
    DamagedResultError,
    DataFacts,
    Evaluation,
    ImagesPerSecond,
    NetworkFacts,
    ProbeFacts,
    Result,
    TeachingFacts,
    UnlabelledFacts,
    read_result,
    write_result,
)
from fpcn_lightning.runs.sameness import decisive
from fpcn_lightning.stopping import stopped

LAST = Path("checkpoints") / "last.ckpt"  # below the run folder: what an interrupted run resumes from
CONFIG_HASH = LAST.with_name("config_hash.txt")  # likewise: of the run whose checkpoints these are
WANDB_RUN = "wandb_run.txt"  # likewise: the id of its W&B run
TRAINING_PLAN = "training_plan.json"  # likewise: the length that a budget of minutes gave it, kept when it is resumed
LEFT_BY_A_RUN = (RESULT_NAME, "metrics.csv", "unlabelled.csv", WANDB_RUN, TRAINING_PLAN, PAGE_NAME)
PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")


_Stage = Literal["total", "teacher", "probe", "fit", "test"]


def is_first_process() -> bool:
    """Whether this is the process of a distributed run that writes, by the environment variables of launchers."""
    # All of them: in an interactive shell of Slurm, every process that Lightning starts has SLURM_PROCID=0.
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"))


def relative(config: Any, folder: Path) -> Any:
    """The config with paths in the run folder made relative to it, so that it does not change when a run is moved."""
    if isinstance(config, dict):
        return {key: relative(value, folder) for key, value in config.items()}
    if isinstance(config, list):
        return [relative(value, folder) for value in config]
    if isinstance(config, str) and Path(config).is_relative_to(folder):
        inside = Path(config).relative_to(folder).as_posix()
        return "." if inside == "." else f"./{inside}"
    return config


def file_hash(path: Path, key: str) -> str:
    """SHA-256 of the file that a config key names, 64 hexadecimal digits.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{key}={path} cannot be read ({error.strerror}): pass the checkpoint of a finished training."
        ) from error


def config_hash(config: Mapping[str, Any]) -> str:
    """12 hexadecimal digits, equal for runs whose results must be the same."""
    return hashlib.sha256(json.dumps(decisive(config), sort_keys=True).encode()).hexdigest()[:12]


class Facts(TypedDict, total=False):
    """Entries of the record that are known only during the run; see `fpcn_lightning.runs.results.Result`."""

    data: DataFacts
    network: NetworkFacts
    metrics: Evaluation
    device: str
    inference_mode: str
    checkpoint: str | None
    epochs: int
    images_per_second: ImagesPerSecond
    seen_in_training: int | None
    teacher: dict[str, object] | None
    teaching: TeachingFacts
    unlabelled: UnlabelledFacts
    probe: ProbeFacts


class RunRecord:
    """The record of a run, `result.json`: written when the run starts and when it ends, also when it fails.

    It handles everything about a run folder except training: the lock, skipping a finished run, the seconds of an
    interrupted run that is resumed, and the record, whose entries are set by `add`.

    Args:
        folder: of the run.
        config: the whole config as plain data, paths in the folder made relative.
        invocation: how the run was started.

    Attributes:
        writes: False in the other processes of a distributed run, which do not write to the folder.
    """

    def __init__(self, folder: Path, config: dict[str, Any], invocation: Invocation) -> None:
        self.folder = folder
        self.writes = is_first_process()
        self.result = _new_result(config, invocation)
        self._clocks: dict[_Stage, float] = {}  # when those that are running would have begun without interruptions

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run folder; the lock is released at the latest when the process ends, also after a crash.

        Temporary files that a killed process left in the folder are removed.

        Raises:
            RunInUse: another process holds it.
        """
        if not self.writes:
            yield
            return
        with hold_lock(self.folder):
            for left in leftovers_in(self.folder):
                left.unlink(missing_ok=True)
            yield

    def is_finished(self, *, overwrite: bool) -> bool:
        """Whether this run is finished; the seconds of an interrupted one are added to the record.

        A damaged record is renamed: its run counts as interrupted.

        Args:
            overwrite: delete the files of an earlier run first.

        Raises:
            UserError: the folder holds a run of another config.
        """
        if not self.writes:
            return False
        if overwrite:
            shutil.rmtree(self.folder / LAST.parent, ignore_errors=True)
            for name in LEFT_BY_A_RUN:
                (self.folder / name).unlink(missing_ok=True)
        before = self._read_before()
        finished = before is not None and before["status"] == "finished"
        if not finished and not (self.folder / LAST).exists():
            return False  # it failed before the end of its first epoch: nothing is lost
        known = self._hash_of_checkpoints() if before is None else before["config_hash"]
        if known not in (None, self.result["config_hash"]):
            raise UserError(
                f"{self.folder} {ANOTHER_CONFIG}: name this run with variant=NAME, or a whole sweep with name=NAME, "
                "or replace it with overwrite=true."
            )
        if before is not None:
            self.result["seconds"] = before["seconds"]
        return finished

    def mark_checkpoints(self) -> None:
        """Write down the config whose checkpoints the folder is going to hold, should the record be damaged."""
        write_text_atomically(self.folder / CONFIG_HASH, self.result["config_hash"] + "\n")

    def _read_before(self) -> Result | None:
        """The record in the folder; None without one, or after it was renamed because it is damaged."""
        path = self.folder / RESULT_NAME
        if not path.exists():
            return None
        try:
            return read_result(path)
        except DamagedResultError:
            set_aside(path)
            return None

    def _hash_of_checkpoints(self) -> str | None:
        """The hash of the config of the run that wrote the checkpoints; None where an earlier version wrote them."""
        path = self.folder / CONFIG_HASH
        return path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else None

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Write the record when the block begins and when it ends, also after an error."""
        if not self.writes:
            yield
            return
        write_result(self.folder, self.result)
        try:
            with self._clock("total", self.result["seconds"]["total"]):
                yield
            self.result["status"] = "finished"
        except BaseException as error:
            # Lightning ends its loop with a SystemExit at a KeyboardInterrupt, or at a signal of a cluster.
            signal = stopped(error)
            interrupted = signal is not None or isinstance(error, SystemExit)
            self.result["status"] = "interrupted" if interrupted else "failed"
            explained = explain(error)
            text = str(signal or error) if explained is None else explained.text
            self.result["error"] = f"{type(signal or error).__name__}: {text}"
            raise
        finally:
            write_result(self.folder, self.result)

    @contextlib.contextmanager
    def timed(self, stage: "_Stage") -> Iterator[None]:
        """Add the seconds of the block, also after an error, to those of the stage before an interruption."""
        with self._clock(stage, self.result["seconds"].get(stage) if stage != "test" else None):
            yield

    def save_seconds(self) -> None:
        """Write the seconds so far, which a kill would lose otherwise."""
        if self.writes:
            self._read_clocks()
            write_result(self.folder, self.result)

    @contextlib.contextmanager
    def _clock(self, stage: "_Stage", before: float | None) -> Iterator[None]:
        self._clocks[stage] = time.monotonic() - (before or 0.0)
        try:
            yield
        finally:
            self._read_clocks()
            del self._clocks[stage]

    def _read_clocks(self) -> None:
        for stage, began in self._clocks.items():
            self.result["seconds"][stage] = round(time.monotonic() - began, 1)

    def add(self, **facts: Unpack[Facts]) -> None:
        """Set entries of the record; they are written with the metrics, or when the run ends.

        Figures are drawn after that: what happens to them must not cost the metrics.
        """
        self.result.update(facts)  # type: ignore[typeddict-item]  # Facts has keys of Result only
        if self.writes and "metrics" in facts:
            write_result(self.folder, self.result)

    @property
    def last_checkpoint(self) -> Path | None:
        """The checkpoint to resume from, or None."""
        path = self.folder / LAST
        return path if path.exists() else None


def _new_result(config: dict[str, Any], invocation: Invocation) -> Result:
    """The record of a run that has just begun."""
    return Result(
        schema=SCHEMA_VERSION,
        experiment=config["name"],
        variant=config["variant"],
        seed=config["seed"],
        status="running",
        error=None,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={"total": None, "fit": None, "test": None},
        code=code_of_package(),
        packages=versions_of(PACKAGES),
        device=None,
        config=config,
        config_hash=config_hash(config),
        command=_command(invocation),
        data=None,
        network=None,
        metrics=None,
        inference_mode=None,
        checkpoint=None,
        epochs=None,
    )


def _command(invocation: Invocation) -> str:
    # A job of a sweep is a single run, also where its experiment has hydra.mode=MULTIRUN.
    mode = [word for word in invocation.hydra_overrides if word == "hydra.mode=RUN"]
    return command_line([*invocation.overrides, *mode])
