"""From a whole-section mosaic and a bundle to maps and measurements: what `fpcn map` does.

`map_section` runs the four stages, each of which is a folder: `read`, `classify`, `measure`, `write`. A stage imports
nothing of a later one.
"""
