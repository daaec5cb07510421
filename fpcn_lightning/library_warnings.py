"""Libraries that talk too much: what they say that no user can act on is not shown."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


def quiet_libraries() -> None:
    """Leave warnings and errors of Lightning, through our own log, and take out its notes and its advertisements."""
    import lightning.pytorch  # noqa: F401 - adds its log handlers when it is first imported

    for name in ("lightning.pytorch", "lightning.fabric"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(logging.WARNING)
    # Lightning 2.6 still uses what torch 2.14 announces to remove.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")
    # The run folder is never empty: its record is written first. `csv_logger` keeps what is there.
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not empty")
    # An interrupted run is resumed from its own checkpoints.
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    # Ours is a map from steps to batches; how many workers are worth while is the user's to say (data.workers).
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Without anybody's warnings, for the length of the block: exporters think aloud."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
