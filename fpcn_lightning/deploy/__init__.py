"""From a checkpoint to a bundle that works without this framework: calibrated, exported, quantised, described."""
