"""How the program was called, from the `hydra` part of a config, and arguments that Hydra reads in another way."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fpcn_lightning.data.files import with_home
from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.sweep.command import quoted

_HOME_VALUE = re.compile(r"(?<=[=,\[])~[^,\[\]{}]*")


def running_invocation() -> Invocation:
    """The invocation of the job that Hydra is running in this process."""
    hydra = HydraConfig.get()
    return _invocation(hydra, Path(hydra.runtime.output_dir))


def sweep_invocation(sweep: DictConfig) -> Invocation:
    """The invocation of a sweep, from its own config with the part `hydra`; the output folder is that of the sweep."""
    return _invocation(sweep.hydra, Path(sweep.hydra.sweep.dir))


def _invocation(hydra: Any, output_dir: Path) -> Invocation:
    # Overrides as they were written: interpolations in them are resolved in the job that is composed from them.
    written = cast(dict[str, list[str]], OmegaConf.to_container(hydra.overrides, resolve=False))
    sources = [source for source in hydra.runtime.config_sources if source.provider == "command-line"]
    return Invocation(
        overrides=tuple(written["task"]),
        hydra_overrides=tuple(written["hydra"]),
        output_dir=output_dir,
        config_dirs=tuple(Path(source.path) for source in sources),
        multirun=hydra.mode == RunMode.MULTIRUN,
        launcher=cast(dict[str, object], OmegaConf.to_container(hydra.launcher, resolve=True)),
        choices={group: str(name) for group, name in hydra.runtime.choices.items() if name is not None},
    )


def seeds_as_sweep(words: Sequence[str]) -> list[str]:
    """The arguments of a command line, with `seeds=0,1,2` replaced by the sweep `seed=0,1,2`.

    Hydra would run a sweep over the key `seeds`, which lists the seeds of every row of an experiment.

    Raises:
        UserError: `seeds` and `seed` are both given.
    """
    given = {word.partition("=")[0]: word for word in words if "=" in word}
    if {"seed", "seeds"} <= given.keys():
        raise UserError(f"{given['seeds']} and {given['seed']} both set the seeds: keep one of them.")
    return [_seed_word(word) if word.startswith("seeds=") else word for word in words]


def config_folders(words: Sequence[str]) -> list[Path]:
    """The folders of `--config-dir`, absolute; the targets of their yaml files are imported from there, too."""
    options = ("--config-dir", "-cd")
    found = [value for word, value in pairwise(words) if word in options]
    found += [value for word in words for option, _, value in [word.partition("=")] if option in options and value]
    return [Path(value).absolute() for value in found]


def multirun_first(words: Sequence[str]) -> list[str]:
    """The arguments with `-m` before the overrides: Hydra refuses overrides that stand on both sides of it."""
    flags = [word for word in words if word in ("-m", "--multirun")]
    return [*flags, *(word for word in words if word not in flags)]


def home_in_words(words: Sequence[str]) -> list[str]:
    """The arguments of a command line, with the home folder for `~` at the beginning of a value, as in `data.root=~/x`.

    The shell replaces `~` only at the beginning of a word, and Hydra reads no value that begins with it. Values in a
    list or a sweep (`[~/a,~/b]`) are replaced, too; a value in quotes is left to `fpcn_lightning.build.config`.
    """
    return [_home_in_word(word) for word in words]


def _home_in_word(word: str) -> str:
    if word.startswith("-"):  # an option such as --config-dir=~/conf, which is no override
        option, _, value = word.partition("=")
        return f"{option}={with_home(value)}" if value else word
    return _HOME_VALUE.sub(lambda value: quoted(with_home(value[0])), word)


def _seed_word(word: str) -> str:
    value = word.removeprefix("seeds=")
    quote = value[:1] if value[:1] in ("'", '"') and value[:1] == value[-1:] and len(value) > 1 else ""
    return f"seed={value.removeprefix(quote).removesuffix(quote)}"
