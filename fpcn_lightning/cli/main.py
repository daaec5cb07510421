"""The entry point: compose a config, pass it to its task, print errors that the user can fix as one sentence.

Nothing that is slow to import is imported before a task runs, so that `--cfg job` prints at once.
"""

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fpcn_lightning import build, config
from fpcn_lightning.cli.config_errors import explain_config_error, first_error
from fpcn_lightning.cli.help import TASKS
from fpcn_lightning.cli.invocation import (
    config_folders,
    home_in_words,
    multirun_first,
    running_invocation,
    seeds_as_sweep,
)
from fpcn_lightning.cli.renamed import renamed
from fpcn_lightning.cli.shortcuts import check_shortcuts
from fpcn_lightning.errors import Explanation, UserError, check_choice, explain
from fpcn_lightning.plotting import use_agg
from fpcn_lightning.runs.recording import is_first_process
from fpcn_lightning.stopping import Stopped, signals_interrupt, stopped


def run_task(cfg: DictConfig) -> None:
    """Run `cfg.task`.

    Raises:
        UserError: the task is unknown, the config is incomplete, or the task raises it.
    """
    from fpcn_lightning.cli.paths import check_paths  # with NumPy and Pillow

    check_choice("task", cfg.task, TASKS)
    invocation = running_invocation()
    check_shortcuts(cfg, invocation, sys.argv[1:])
    built = build.config(cfg)
    check_paths(built)
    import_module(f"fpcn_lightning.tasks.{cfg.task}").run(built, invocation)


def main() -> None:
    """Run the command line; exits with 2 on an error in command, config or data, 1 on any other."""
    _print_any_name()
    use_agg()
    words = sys.argv[1:]
    try:
        _check_renamed(words)
        words = home_in_words(multirun_first(seeds_as_sweep(words)))
        sys.argv[1:] = words
        sys.path += [str(folder) for folder in config_folders(words)]  # last: no installed module is replaced
    except UserError as error:
        sys.exit(_complain(str(error)))
    # Without this Hydra prints a shortened stack trace and exits; with it the error is raised, and handled below.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        with signals_interrupt():
            hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")(run_task)()
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(_complain(explain_config_error(first_error(error, words))))
    except (KeyboardInterrupt, SystemExit) as error:
        signal = stopped(error)
        if signal is None:
            raise
        sys.exit(_say_stopped(signal))
    except Exception as error:
        explained = explain(error) or _library_error(error)
        if explained is None:
            raise
        _complain(explained.text)
        sys.exit(explained.exit_code)


def _say_stopped(signal: Stopped) -> int:
    """Print that a signal has stopped the program; returns the exit code."""
    if not is_first_process():
        return 0  # or Lightning kills the first process, which may not have written everything yet
    print(str(signal), file=sys.stderr)
    return signal.exit_code


def _check_renamed(words: Sequence[str]) -> None:
    for word in words:
        sentence = renamed(word)
        if sentence is not None:
            raise UserError(sentence)


def _library_error(error: Exception) -> Explanation | None:
    """A sentence for an error of a library that the user can fix; None for any other error."""
    # Lightning's class for invalid settings; compared by name, because importing it takes seconds.
    if type(error).__name__ == "MisconfigurationException":
        return Explanation(" ".join(str(error).split()), UserError.exit_code)
    # OmegaConf's error for a key below a section that is null, such as data.synthetic.size with data=folder.
    if isinstance(error, AssertionError) and "Unexpected type for root" in str(error):
        text = "a key on the command line is below a section that is null: set the whole section, or remove the key."
        return Explanation(text, UserError.exit_code)
    return None


def _print_any_name() -> None:
    """Print file names that are not valid UTF-8, such as those from old archives, with escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2
