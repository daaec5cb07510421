"""Filters for messages and warnings of libraries that the user can do nothing about."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


def quiet_libraries() -> None:
    """Pass warnings and errors of Lightning to our own log, and suppress its tips and other messages."""
    import lightning.pytorch  # noqa: F401 - adds its log handlers when it is first imported

    for name in ("lightning.pytorch", "lightning.fabric"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.WARNING)
    # Lightning 2.6 still uses an API that torch 2.14 deprecates.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # The run folder is never empty: its record is written first. `CSVLog` keeps the rows of an earlier log.
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not empty")
    # An interrupted run is resumed from its own checkpoints.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # The loader of this package maps steps to batches; the user sets the number of workers (data.workers).
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Suppress all warnings and log messages in the block, such as those of exporters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
