"""`python -m fpcn_lightning`."""

import sys

from fpcn_lightning.errors import explain


def main() -> None:
    """Run the command line; where Hydra is not installed, print the command that installs it."""
    try:
        from fpcn_lightning.cli.main import main as run
    except ModuleNotFoundError as error:
        if (explained := explain(error)) is None:
            raise
        print(f"error: {explained.text}", file=sys.stderr)
        sys.exit(explained.exit_code)
    run()


if __name__ == "__main__":
    main()
