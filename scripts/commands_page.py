"""The page of all commands with their options, as their own `--help` prints them."""

import io
import os
import re
from contextlib import redirect_stdout

from fpcn_lightning.cli.help import help_text
from fpcn_lightning.config import CONF
from fpcn_lightning.quickstart.command import main

INTRODUCTION = """\
# Commands

Two programs: `fpcn` makes a model from photographs and uses it; `python -m fpcn_lightning` runs experiments. This page
shows what their `--help` prints, and is made when the documentation is built.

"""
_WIDTH = "100"  # characters of a line


def page() -> str:
    """The whole page in Markdown."""
    fpcn = _help_of_fpcn()
    parts = [INTRODUCTION, _block("`fpcn`", fpcn)]
    parts += [_block(f"`fpcn {name}`", _help_of_fpcn(name), 3) for name in subcommands(fpcn)]
    groups = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*/*.yaml")} - {
        "task"
    }  # has its own list
    parts.append(_block("`python -m fpcn_lightning`", help_text()))
    parts += [_block(f"`--help {group}`", help_text([group]), 3) for group in sorted(groups)]
    return "".join(parts)


def subcommands(text: str) -> list[str]:
    """The names of the commands in the help of `fpcn`."""
    listed = text.partition("COMMAND\n")[2].partition("\n\n")[0]
    return re.findall(r"^    ([\w-]+)", listed, re.MULTILINE)


def _help_of_fpcn(*words: str) -> str:
    os.environ["COLUMNS"] = _WIDTH  # what argparse wraps lines at
    with redirect_stdout(io.StringIO()) as text:
        try:
            main([*words, "--help"])
        except SystemExit as end:
            if end.code:
                raise RuntimeError(f"fpcn {' '.join(words)} --help fails.") from end
    return text.getvalue()


def _block(title: str, text: str, level: int = 2) -> str:
    return f"{'#' * level} {title}\n\n```text\n{text.rstrip()}\n```\n\n"
