"""Hydra looks for launchers and sweepers here, whenever it starts: nothing heavy is imported at module level."""
