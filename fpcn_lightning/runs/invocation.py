"""How this process was called, as plain data: what the command line knows beside the config."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Invocation:
    """One call of the program.

    Attributes:
        overrides: the words of the command line that set config keys.
        hydra_overrides: the words that set Hydra's own keys.
        config_dirs: folders of further yaml files (`--config-dir`).
        output_dir: folder of this run.
        multirun: several jobs run one after the other in this process (the basic launcher).
        launcher: the section `hydra.launcher`.
        choices: the file chosen from each group of `conf/`.
    """

    overrides: tuple[str, ...]
    hydra_overrides: tuple[str, ...]
    output_dir: Path
    config_dirs: tuple[Path, ...] = ()
    multirun: bool = False
    launcher: Mapping[str, object] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)


def command_line(words: Iterable[str]) -> str:
    """What a person types to start the program with these words."""
    return shlex.join(["python", "-m", "fpcn_lightning", *words])
