"""Checks a checkpoint from an unknown source: it is as large as it looks, and nothing in its record is resolved."""

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.names import MAX_CLASSES, class_problem
from fpcn_lightning.data.preparation import check_data_config, make_augmentation

MAX_DEPTH = 20  # of nested mappings and lists; a student names its teacher, that its own, and so on
MAX_VALUES = 200_000
MAX_TEXT = 4096  # characters; paths are the longest texts
MAX_NUMBER = 2**53  # beyond it, floats skip whole numbers
MAX_SIDE = 16_384  # pixels of an image that a network sees
MAX_SIZE = 65_536  # whole numbers of the section `model`: channels, layers
_TRAINING_STATE = {  # of Lightning
    **{"epoch": int, "global_step": int, "pytorch-lightning_version": str},
    **{"loops": dict, "callbacks": dict, "optimizer_states": list, "lr_schedulers": list},
}
_INTERPOLATION = "${"  # OmegaConf would replace it by a variable of the environment, among others


def check_archive(path: Path) -> None:
    """Check that a checkpoint does not become larger while it is read: torch stores tensors without compression.

    Raises:
        ValueError: it does.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it is compressed, and would need {unpacked:,} bytes")


def check_weights(weights: Mapping[str, object]) -> None:
    """Check that each tensor has no more elements than are stored for it.

    Raises:
        ValueError: names the tensor.
    """
    for name, values in weights.items():
        if isinstance(values, torch.Tensor):
            stored = values.layout == torch.strided and values.device.type == "cpu"
            if not stored or values.numel() * values.element_size() > values.untyped_storage().nbytes():
                raise ValueError(f"the tensor '{name[:100]}' has more elements than are stored")


def check_resumable(content: object) -> None:
    """Check that a checkpoint has what Lightning needs to resume a training.

    Raises:
        ValueError: names the first part that is missing or has another type.
    """
    for key, kind in _TRAINING_STATE.items():
        value = content.get(key) if isinstance(content, Mapping) else None
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
            raise ValueError(f"'{key}' is {type(value).__name__}, not {kind.__name__}, so that no training can resume")
        if isinstance(value, list) and not all(isinstance(item, dict) for item in value):
            raise ValueError(f"'{key}' has an entry that is no mapping, so that no training can resume")


def check_plain(record: object) -> None:
    """Check that a record consists of mappings, lists, texts, numbers and nothing else, and of no huge amount of them.

    Raises:
        ValueError: names the first value that does not belong there.
    """
    pending, values = [(record, "record", 0)], 0
    while pending:
        value, where, depth = pending.pop()
        values += 1
        if depth > MAX_DEPTH or values > MAX_VALUES:
            raise ValueError(f"'{where[:200]}' is nested too deeply, or there are more than {MAX_VALUES:,} values")
        match value:
            case Mapping():
                pending += [(key, f"{where} (a key)", depth + 1) for key in value]
                pending += [(item, f"{where}.{str(key)[:100]}", depth + 1) for key, item in value.items()]
            case list() | tuple():
                pending += [(item, f"{where}.{number}", depth + 1) for number, item in enumerate(value)]
            case _:
                _check_leaf(value, where)


def check_ranges(classes: Sequence[Any], model: Mapping[str, Any], data: DataConfig, seed: int) -> None:
    """Check the values of a record that the types of its parts leave open.

    Args:
        classes: names in the order of their numbers.
        model: the section of the config.
        data: the section `data`.
        seed: of the run.

    Raises:
        ValueError: names the value.
        UserError: likewise, from the checks of a training.
    """
    if not 1 <= len(classes) <= MAX_CLASSES or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"'record.classes' must be 1 to {MAX_CLASSES:,} names")
    if len(set(classes)) < len(classes):
        raise ValueError("'record.classes' has a name twice")
    for name in classes:
        if (problem := class_problem(name)) is not None:
            raise ValueError(f"the class {ascii(name)[:100]} {problem}")
    for key, value in model.items():
        if isinstance(value, int) and abs(value) > MAX_SIZE:
            raise ValueError(f"'record.model.{key}' is above {MAX_SIZE:,}")
    check_data_config(data, seed)
    make_augmentation(data)
    for key in ("crop", "evaluation_crop", "resize"):
        side = getattr(data, key)
        if side is not None and not 1 <= side <= MAX_SIDE:
            raise ValueError(f"'record.data.{key}' is not in 1..{MAX_SIDE:,}")


def _check_leaf(value: object, where: str) -> None:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise ValueError(f"'{where}' has more than {MAX_TEXT:,} characters")
        if _INTERPOLATION in value:
            raise ValueError(f"'{where}' contains {_INTERPOLATION}...}}, which stands for another value")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"'{where}' is not finite")
    elif isinstance(value, int):
        if abs(value) > MAX_NUMBER:
            raise ValueError(f"'{where}' is too large")
    elif value is not None:
        raise ValueError(f"'{where}' is {type(value).__name__}, which is not plain data")
