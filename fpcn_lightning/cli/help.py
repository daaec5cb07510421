"""The text of `--help`. Hydra's own help takes seconds, because it composes the config once for every group."""

import re
from collections.abc import Sequence
from pathlib import Path

from fpcn_lightning.config import CONF
from fpcn_lightning.errors import UserError, closest

TASKS = {
    "train": "train one network (the default)",
    "audit": "check photographs before any training: data.root=PHOTOS",
    "benchmark": "what this machine does, and how long a training will take",
    "evaluate": "test a checkpoint: checkpoint=FILE; on other images with data.root=PHOTOS",
    "explain": "draw heat maps of a checkpoint: checkpoint=FILE source=PHOTOS",
    "export": "export a checkpoint as a bundle for the field: checkpoint=FILE",
    "report": "tables, figures and a page of all runs in a folder: runs=outputs/EXPERIMENT",
    "search": "search for better values of the keys in search.space with Optuna",
    "dashboard": "write the project's W&B workspaces",
}
# Groups without an entry in conf/config.yaml: they are added with +GROUP=NAME.
ADDED = ("experiment", "ablation", "background", "report")

_COMMANDS = """\
Classify rocks and minerals from photographs: FPCN, the networks it is compared with, and a record of every run.

  python -m fpcn_lightning +experiment=demo start=scratch        a first try: minutes on two cores, no download
  python -m fpcn_lightning data=folder data.root=PHOTOS          train FPCN on a folder of class folders, or a CSV
  python -m fpcn_lightning +experiment=photographs data.root=PHOTOS
  python -m fpcn_lightning +experiment=NAME                      all rows of conf/experiment/NAME.yaml, then their table
  python -m fpcn_lightning -m seed=0,1,2 model=plain,fpcn        any other sweep
  python -m fpcn_lightning task=TASK ...                         one of the tasks below
"""
_KEYS = """\
--help GROUP, such as --help model, prints a line for each choice of a group; --cfg job prints every key with its value;
fpcn_lightning/config.py describes every key. A key is set as KEY=VALUE, such as model.theta=0.25 seed=1. --hydra-help
prints Hydra's own options.
"""


def help_text(words: Sequence[str] = ()) -> str:
    """The help, or the help of the groups that are named.

    Args:
        words: the arguments of the command line, without the program.

    Raises:
        UserError: an argument is not a group.
    """
    groups = [word for word in words if not word.startswith("-") and "=" not in word]
    if groups:
        return "\n".join(_about(group) for group in groups)
    width = max(map(len, TASKS)) + 2
    tasks = (f"  {task:{width}}{text}" for task, text in TASKS.items())
    return "\n".join((_COMMANDS, "Tasks (task=NAME):", *tasks, "", *_groups(), "", _KEYS))


def _groups() -> list[str]:
    width = max(map(len, _folders())) + 3
    lines = [
        f"  {'+' if group in ADDED else ''}{group}".ljust(width + 2)
        + " ".join(path.stem for path in _files(CONF / group))
        for group in _folders()
        if group != "task"
    ]
    return ["Choices (GROUP=NAME; those marked + are added, +GROUP=NAME):", *lines]


def _about(group: str) -> str:
    known = _folders()
    if group not in known:
        raise UserError(f"--help {group}: there is no such group{closest(group, known)}. Groups: {', '.join(known)}.")
    files = _files(CONF / group)
    width = max(len(path.stem) for path in files) + 2
    lines = [f"  {path.stem:{width}}{first_comment(path)}" for path in files]
    return "\n".join([f"{'+' if group in ADDED else ''}{group}=", *lines])


def first_comment(path: Path) -> str:
    """The first sentence of the comment at the beginning of a yaml file."""
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("# ") or line.startswith("#  "):
            break
        words.append(line.removeprefix("# "))
    return re.split(r"(?<=\.)(?: |$)", " ".join(words))[0]


def _folders() -> list[str]:
    return sorted({path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*/*.yaml")})


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))
