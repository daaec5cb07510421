"""Arrays that are computed once from the images and shared by all runs: the features of a frozen backbone."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from fpcn_lightning.runs.atomic_write import atomic_write

logger = logging.getLogger(__name__)

Features = NDArray[np.float32]


def stored_features(folder: Path | None, key: Mapping[str, Any], compute: Callable[[], Features]) -> Features:
    """The array of this key, computed and stored if no run has done so before.

    Several processes wait for the one that computes it. Where the folder cannot be written, or a stored file cannot be
    read, the array is computed.

    Args:
        folder: where arrays are stored; it is created. None stores nothing.
        key: all that the array depends on, as plain data.
        compute: returns the array.
    """
    if folder is None:
        return compute()
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = folder / f"features-{digest[:24]}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            return _read_or_compute(path, compute)
    except OSError as error:
        logger.warning("features are not stored in %s (%s): they are computed in every run", folder, error.strerror)
        return compute()


def _read_or_compute(path: Path, compute: Callable[[], Features]) -> Features:
    try:
        stored: Features = np.load(path, allow_pickle=False)
        return stored
    except FileNotFoundError:
        pass
    except (ValueError, EOFError):
        logger.warning("%s is damaged: it is computed again", path)
    features = compute()
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.save(file, features, allow_pickle=False)
    return features
