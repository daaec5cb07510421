"""The command `fpcn`: `train`, and the commands on a bundle.

A training needs packages that `fpcn` on a bundle does not need: nothing of them is imported before the photographs are
checked.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpcn_lightning.errors import MissingPackage
from fpcn_lightning.field import command
from fpcn_lightning.field.command_line import FurtherCommand
from fpcn_lightning.quickstart import options
from fpcn_lightning.stopping import stopped

if TYPE_CHECKING:
    from fpcn_lightning.quickstart.pipeline import MadeModel

EXIT_NOT_USABLE = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, as `fpcn_lightning.field.command.main`."""
    texts = options.HELP, options.DESCRIPTION, options.EXAMPLES
    return command.main(arguments, [FurtherCommand("train", *texts, options.add_options, _train)])


def _train(parsed: argparse.Namespace) -> int:
    chosen = options.TrainOptions.parsed(parsed)
    try:
        made = run(chosen)
        return 0 if made is None or made.usability.usable else EXIT_NOT_USABLE
    except (KeyboardInterrupt, SystemExit) as error:
        signal = stopped(error)
        if signal is None:
            raise
        print(f"\nfpcn: {signal}", file=sys.stderr)
        return signal.exit_code


def run(chosen: options.TrainOptions) -> "MadeModel | None":
    """Make a model, after the photographs and the packages were checked; None for a dry run.

    Raises:
        UserError: packages are missing, or as `fpcn_lightning.quickstart.pipeline.make_model`.
    """
    from fpcn_lightning.quickstart.listing import list_photographs

    listed = list_photographs(chosen)
    for extra in ("train", "export"):
        MissingPackage.check("fpcn train", extra)
    from fpcn_lightning.quickstart.pipeline import make_model

    return make_model(chosen, listed)


if __name__ == "__main__":
    sys.exit(main())
