"""`python -m fpcn_lightning`."""

from fpcn_lightning.cli.main import main

if __name__ == "__main__":
    main()
