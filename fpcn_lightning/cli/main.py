"""The entry: compose a config, hand it to its task, turn what the user can mend into one sentence.

Nothing heavy is imported here before a task runs, so that `--help` and `--cfg job` answer at once.
"""

import io
import os
import sys
from importlib import import_module

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fpcn_lightning import build, config
from fpcn_lightning.cli.config_errors import explain_config_error, first_error
from fpcn_lightning.cli.help import help_text
from fpcn_lightning.cli.invocation import running_invocation, seeds_as_sweep
from fpcn_lightning.errors import UserError, check_choice

TASKS = ("train", "evaluate", "explain", "export", "report", "search", "dashboard")


def run_task(cfg: DictConfig) -> None:
    """Run `cfg.task`.

    Raises:
        UserError: the task is unknown, or what the task finds wrong.
    """
    check_choice("task", cfg.task, TASKS)
    task = import_module(f"fpcn_lightning.tasks.{cfg.task}")
    if cfg.task == "search":
        build.plain(cfg)
        task.run(OmegaConf.to_object(cfg), running_invocation())
    else:
        task.run(cfg)


def main() -> None:
    """Run the command line; exits with 2 on an error the user can mend, 1 on any other."""
    _print_any_name()
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(help_text())
        return
    config.register()
    # Hydra would print a shortened stack trace and exit by itself; with this it raises, and we say it in one sentence.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    try:
        sys.argv[1:] = seeds_as_sweep(sys.argv[1:])
        hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")(run_task)()
    except UserError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(_complain(explain_config_error(first_error(error, sys.argv[1:]))))
    except KeyboardInterrupt:
        _complain("interrupted; the same command goes on from the last whole epoch.")
        sys.exit(130)
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(_complain(f"{error.filename}: {error.strerror}."))
    except Exception as error:
        told = _told_by_a_library(error)
        if told is None:
            raise
        sys.exit(_complain(told))


def _told_by_a_library(error: Exception) -> str | None:
    """A sentence for an error of a library that means a slip of the user's; None for any other."""
    # Lightning's word for what is wrong with its own settings; importing it for the name would cost seconds.
    if type(error).__name__ == "MisconfigurationException":
        return " ".join(str(error).split())
    # OmegaConf's for a key below a section that is null, such as data.synthetic.size with data=folder.
    if isinstance(error, AssertionError) and "Unexpected type for root" in str(error):
        return (
            "a key on the command line lies below a section that is null here: give the whole section, or none of it."
        )
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
