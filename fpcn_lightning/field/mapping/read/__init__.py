"""Stage 1: any window of a section of any size, at any of its sizes, and its scale."""
