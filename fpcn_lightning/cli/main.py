"""The entry: compose a config, hand it to its task, turn errors that the user can fix into one sentence.

Nothing heavy is imported here before a task runs, so that `--help` and `--cfg job` answer at once.
"""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fpcn_lightning import build, config
from fpcn_lightning.cli.config_errors import explain_config_error, first_error
from fpcn_lightning.cli.help import TASKS, help_text
from fpcn_lightning.cli.invocation import running_invocation, seeds_as_sweep
from fpcn_lightning.cli.renamed import renamed
from fpcn_lightning.cli.shortcuts import check_shortcuts
from fpcn_lightning.errors import UserError, check_choice


def register() -> None:
    """Make the schema known to Hydra under the name that `conf/config.yaml` lists first."""
    ConfigStore.instance().store(name="schema", node=config.Config)


def run_task(cfg: DictConfig) -> None:
    """Run `cfg.task`.

    Raises:
        UserError: the task is unknown, the config is not complete, or what the task raises.
    """
    check_choice("task", cfg.task, TASKS)
    invocation = running_invocation()
    check_shortcuts(cfg, invocation, sys.argv[1:])
    import_module(f"fpcn_lightning.tasks.{cfg.task}").run(build.config(cfg), invocation)


def main() -> None:
    """Run the command line; exits with 2 on an error that the user can fix, 1 on any other."""
    _print_any_name()
    words = sys.argv[1:]
    try:
        if {"--help", "-h"} & set(words):
            print(help_text(words))
            return
        _check_renamed(words)
        sys.argv[1:] = seeds_as_sweep(words)
    except UserError as error:
        sys.exit(_complain(str(error)))
    register()
    # Hydra would print a shortened stack trace and exit by itself; with this it raises, and we say it in one sentence.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")(run_task)()
    except UserError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(_complain(explain_config_error(first_error(error, words))))
    except KeyboardInterrupt:
        _complain("interrupted; the same command resumes from the last finished epoch.")
        sys.exit(130)
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(_complain(f"{error.filename}: {error.strerror}."))
    except Exception as error:
        sentence = _library_error(error)
        if sentence is None:
            raise
        sys.exit(_complain(sentence))


def _check_renamed(words: Sequence[str]) -> None:
    for word in words:
        sentence = renamed(word)
        if sentence is not None:
            raise UserError(sentence)


def _library_error(error: Exception) -> str | None:
    """A sentence for an error of a library that the user can fix; None for any other."""
    # Lightning's class for invalid settings of its own; importing it for the name would cost seconds.
    if type(error).__name__ == "MisconfigurationException":
        return " ".join(str(error).split())
    # OmegaConf's for a key below a section that is null, such as data.synthetic.size with data=folder.
    if isinstance(error, AssertionError) and "Unexpected type for root" in str(error):
        return "a key on the command line is below a section that is null here: give the whole section, or none of it."
    return None


def _print_any_name() -> None:
    """File names out of old archives need not be UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> int:
    if text.startswith("Caught UserError in DataLoader worker"):
        # It comes with the stack trace of the worker process before it.
        text = text.rstrip().splitlines()[-1].removeprefix("fpcn_lightning.errors.UserError: ")
    print(f"error: {text}", file=sys.stderr)
    return 2
