"""The command `fpcn`: classify photographs with an exported bundle. Imports neither torch nor Hydra."""
