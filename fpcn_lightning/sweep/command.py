"""The arguments of one job, in the syntax of Hydra's overrides but without Hydra."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from fpcn_lightning.runs.invocation import Invocation


def job_arguments(invocation: Invocation, overrides: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The arguments of the program that runs one job of a sweep or of a search as a process of its own.

    Args:
        invocation: how the sweep or the search was called: its config folders and its words for Hydra are passed on.
        overrides: words of the job that set config keys; where two name the same key, the last one wins.
        folder: run folder of the job.
    """
    flags = [f"--config-dir={path}" for path in invocation.config_dirs]
    words = [word for word in invocation.hydra_overrides if not word.startswith("hydra.mode=")]
    # An experiment may set hydra.mode=MULTIRUN; the job is a single run, so this word comes last.
    last = ("hydra.mode=RUN", f"hydra.run.dir={quoted(str(folder))}")
    return (*flags, *words, *overrides, *last)


def assignment(key: str, value: bool | int | float | str | None) -> str:
    """The override that sets `key` to a value of exactly this type."""
    return f"{key}={quoted(value) if isinstance(value, str) else json.dumps(value)}"


def quoted(text: str) -> str:
    """The text in single quotes, as Hydra's parser reads it back unchanged."""
    # A backslash escapes only before a quote, the closing one included; elsewhere it stands for itself.
    escaped = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)
    return "'" + escaped.replace("'", r"\'") + "'"
