"""From a whole-section mosaic and a bundle to maps and measurements: what `fpcn map` does."""
