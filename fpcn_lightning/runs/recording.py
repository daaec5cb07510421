"""What a run writes about itself, from its first second to its last: `result.json`, also when it fails."""

import contextlib
import hashlib
import json
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from fpcn_lightning import __version__
from fpcn_lightning.runs.folders import check_names as check_names
from fpcn_lightning.runs.lock import hold_lock
from fpcn_lightning.runs.results import SCHEMA_VERSION, Code, Result, write_result
from fpcn_lightning.runs.sameness import decisive

held = hold_lock
PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")


def is_first_process() -> bool:
    """Whether this process is the one of a distributed run that writes, by what launchers set in the environment."""
    # All of them: in an interactive shell of Slurm, every process that Lightning starts has SLURM_PROCID=0.
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK"))


def relative(config: Any, folder: Path) -> Any:
    """The config with the run folder taken out of every path, so that a moved run still says the same."""
    if isinstance(config, dict):
        return {key: relative(value, folder) for key, value in config.items()}
    if isinstance(config, list):
        return [relative(value, folder) for value in config]
    if isinstance(config, str) and Path(config).is_relative_to(folder):
        inside = Path(config).relative_to(folder).as_posix()
        return "." if inside == "." else f"./{inside}"
    return config


def config_hash(config: Mapping[str, Any]) -> str:
    """12 hexadecimal digits, equal for runs that must come to the same result."""
    return hashlib.sha256(json.dumps(decisive(config), sort_keys=True).encode()).hexdigest()[:12]


class Overrides(Protocol):
    """The words of a command line, by whom they are meant for."""

    task: Any  # the run's, words
    hydra: Any  # Hydra's own, words


def new_result(config: dict[str, Any], overrides: Overrides) -> Result:
    """The record of a run that has just begun.

    Args:
        config: the whole config.
        overrides: the words of its command line.
    """
    return Result(
        schema=SCHEMA_VERSION,
        experiment=config["name"],
        variant=config["variant"],
        seed=config["seed"],
        status="running",
        error=None,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={"total": None, "fit": None, "test": None},
        code=_code(),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        device=None,
        config=config,
        config_hash=config_hash(config),
        command=_command(overrides),
        data=None,
        network=None,
        metrics=None,
        inference_mode=None,
        checkpoint=None,
        epochs=None,
    )


def command_line(words: Iterable[str]) -> str:
    """What a person types to start the program with these words."""
    return shlex.join(["python", "-m", "fpcn_lightning", *words])


def _command(overrides: Overrides) -> str:
    # A run out of a sweep is one run also where its experiment asks for a sweep.
    mode = [word for word in overrides.hydra if word == "hydra.mode=RUN"]
    return command_line([*overrides.task, *mode])


@contextlib.contextmanager
def recorded(folder: Path, result: Result) -> Iterator[Result]:
    """Write `result`, which the block fills in, when the block begins and when it ends, however it ends."""
    began, before = time.monotonic(), result["seconds"]["total"] or 0.0
    write_result(folder, result)
    try:
        yield result
        result["status"] = "finished"
    except BaseException as error:
        # Lightning leaves its loop by a SystemExit when a cluster or a sweep asks it to stop.
        result["status"] = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
        result["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        result["seconds"]["total"] = round(before + time.monotonic() - began, 1)
        write_result(folder, result)


def device_name() -> str:
    """The accelerator or processor of this process, and how many threads it computes with."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"CPU {_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _code() -> Code:
    place = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(place), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may lie inside somebody else's checkout, whose commit would say nothing.
        git("ls-files", "--error-unmatch", "__init__.py")
        return Code(version=__version__, commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return Code(version=__version__, commit=None, dirty=None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
