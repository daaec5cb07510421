"""FPCN for rock photographs: teacher, rivals and students that are comparable."""

__version__ = "0.1.0"
