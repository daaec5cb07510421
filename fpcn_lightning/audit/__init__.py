"""Checks a data set before any training: damaged files, copies, conflicting labels, cues, and likely label errors."""
