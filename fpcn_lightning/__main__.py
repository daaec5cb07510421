"""`python -m fpcn_lightning`."""

import sys

from fpcn_lightning.errors import UserError, explain


def main() -> None:
    """Run the command line; where Hydra is not installed, print the command that installs it."""
    words = sys.argv[1:]
    try:
        if {"--help", "-h"} & set(words):
            from fpcn_lightning.cli.help import help_text

            print(help_text(words))
            return
        from fpcn_lightning.cli.main import main as run  # with Hydra, which takes longer to import than the help
    except (ModuleNotFoundError, UserError) as error:
        if (explained := explain(error)) is None:
            raise
        print(f"error: {explained.text}", file=sys.stderr)
        sys.exit(explained.exit_code)
    run()


if __name__ == "__main__":
    main()
