"""The options of `fpcn train`."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.data.files import with_home
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.command_line import AddArgument
from fpcn_lightning.tasks.budget_text import Budget

DEFAULT_BUDGET = "20min"
HELP = "make a model from your photographs"

DESCRIPTION = """\
Make a model from your photographs: a folder with a folder for each class, or a .csv or .xlsx with path and label.

It checks the photographs, trains, chooses the best network on photographs that are kept apart (validation), tests it
once on others (test), and writes the model to a folder:
  index.html    what was found, to be read first
  card.md       what the model is for, and how well it works
  model.onnx    the network, and all that `fpcn predict`, `fpcn serve` and `fpcn map` need
The trainings are kept next to it, in MODEL-training. If it is interrupted, the same command goes on.
"""

EXAMPLES = """\
examples:
  fpcn train photographs                          about 20 minutes of training
  fpcn train photographs --quick                  a linear probe only: minutes
  fpcn train photographs --budget 2h --compare    FPCN as well, and a report about all of them
  fpcn train photographs --dry-run                check the photographs only

The exit code is 1 if the model turns out to be not usable; card, page and predictions then say why.
"""


@dataclass(frozen=True)
class TrainOptions:
    """What the user asks for.

    Attributes:
        photographs: folder of class folders, or a list; absolute.
        model: folder of the bundle; absolute.
        budget: what all trainings together may take; None is the length that the paper trains for.
        quick: the linear probe only.
        paper: FPCN as its paper trains it.
        compare: FPCN and the plain network.
        overwrite: replace the model, and start again.
        dry_run: check the photographs only.
    """

    photographs: Path
    model: Path
    budget: Budget | None
    quick: bool = False
    paper: bool = False
    compare: bool = False
    overwrite: bool = False
    dry_run: bool = False

    @classmethod
    def parsed(cls, options: argparse.Namespace) -> "TrainOptions":
        """The options of a command line.

        Raises:
            UserError: as `checked`.
        """
        return cls.checked(
            options.photographs,
            out=options.out,
            budget=options.budget,
            quick=options.quick,
            paper=options.paper,
            compare=options.compare,
            overwrite=options.overwrite,
            dry_run=options.dry_run,
        )

    @classmethod
    def checked(
        cls,
        photographs: Path,
        *,
        out: Path | None = None,
        budget: str | None = None,
        quick: bool = False,
        paper: bool = False,
        compare: bool = False,
        overwrite: bool = False,
        dry_run: bool = False,
    ) -> "TrainOptions":
        """The options as the user writes them; `out` and `budget` have the defaults of the command.

        Raises:
            UserError: they contradict each other, or the model would be among the photographs.
        """
        if quick and (paper or compare or budget is not None):
            raise UserError("--quick trains nothing but a linear probe: leave out --paper, --compare and --budget.")
        text = budget or (None if paper else DEFAULT_BUDGET)
        photographs = photographs.absolute()
        model = (out or Path(f"{photographs.resolve().stem}-model")).absolute()
        for path in (photographs, model):
            if "${" in str(path):
                raise UserError(f"{path} has ${{ in it, which stands for other values in a config: rename the folder.")
        if model.resolve().is_relative_to(photographs.resolve()):
            raise UserError(
                f"{model} lies in the folder of the photographs, where it would be taken for a class: choose another "
                "folder with --out."
            )
        return cls(
            photographs=photographs,
            model=model,
            budget=None if text is None or quick else Budget.parsed(text, "--budget"),
            quick=quick,
            paper=paper,
            compare=compare,
            overwrite=overwrite,
            dry_run=dry_run,
        )

    @property
    def work(self) -> Path:
        """The folder of the trainings."""
        return self.model.with_name(f"{self.model.name}-training")

    @property
    def name(self) -> str:
        """Of the experiment: that of the photographs, with letters, digits and `_` only."""
        return re.sub(r"[^\w]+", "_", self.photographs.resolve().stem).strip("_")[:40] or "photographs"


def add_options(add: AddArgument) -> None:
    """Add the options to a parser."""
    add("photographs", type=_path, metavar="PHOTOS", help="a folder with a folder for each class, or a list")
    add("--out", type=_path, metavar="MODEL", help="folder of the model (default: the name of PHOTOS with -model)")
    add(
        "--budget",
        metavar="TIME",
        help=f"what all trainings together may take, such as 20min, 2h or 600steps (default: {DEFAULT_BUDGET})",
    )
    add("--quick", action="store_true", help="a linear probe only, without a training")
    add("--paper", action="store_true", help="FPCN as its paper trains it: needs a GPU and hours")
    add("--compare", action="store_true", help="train FPCN as well as a plain network, and write a report about both")
    add("--overwrite", action="store_true", help="replace the model, and start all trainings again")
    add("--dry-run", action="store_true", help="check the photographs, and train nothing")


def _path(text: str) -> Path:
    return Path(with_home(text))
