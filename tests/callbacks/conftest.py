"""Whole runs, as in the tests of the tasks."""

from tests.tasks.conftest import train

__all__ = ["train"]
