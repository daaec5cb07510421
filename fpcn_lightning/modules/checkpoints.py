"""Checkpoints are data: tensors and plain values, never code.

In addition to Lightning's own entries a checkpoint has a record: the section `model`, the class names, the sizes of the
images, and the fingerprint of the split. That is enough to build the network again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fpcn_lightning.config import Config, DataConfig, Target, TrainingConfig
from fpcn_lightning.errors import UserError, check_file
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.checkpoint_check import (
    check_archive,
    check_plain,
    check_ranges,
    check_resumable,
    check_weights,
)
from fpcn_lightning.modules.checkpoint_upgrade import upgrade
from fpcn_lightning.plain_config import from_plain

SCHEMA = 2
RECORD = "fpcn_lightning"  # the checkpoint's key for the record
PREFIX = "network."
MAX_REASON = 300  # characters


@dataclass
class CheckpointRecord:
    """The description of a network in its checkpoint.

    Attributes:
        classes: class names in the order of their numbers.
        split: fingerprint of the split that it was trained on.
        model: the section of the config.
        data, training: likewise.
        seed, name, variant: of the run.
        teacher: identifies the teacher of a student; None without one.
    """

    classes: list[str]
    split: str
    model: Target
    data: DataConfig
    seed: int
    name: str
    variant: str
    training: TrainingConfig = field(default_factory=TrainingConfig)
    teacher: dict[str, Any] | None = None
    schema: int = SCHEMA

    def plain(self) -> dict[str, Any]:
        """The record as plain data, as it is saved."""
        return asdict(self)


def make_record(
    config: Config, classes: tuple[str, ...], fingerprint: str, teacher: Mapping[str, Any] | None = None
) -> CheckpointRecord:
    """The record for the checkpoints of a run, with the teacher that it is trained with."""
    return CheckpointRecord(
        classes=list(classes),
        split=fingerprint,
        model=config.model,
        data=config.data,
        training=config.training,
        seed=config.seed,
        name=config.name,
        variant=config.variant,
        teacher=None if teacher is None else dict(teacher),
    )


class Loaded(NamedTuple):
    """A network with its trained weights, and the record that came with it."""

    network: Network
    record: CheckpointRecord


class Content(NamedTuple):
    """What is read from a checkpoint: its record, and the weights of the network by name."""

    record: CheckpointRecord
    weights: dict[str, torch.Tensor]


def read(path: Path, *, resumable: bool = False) -> Content:
    """Read a checkpoint of this package as tensors and plain values.

    Args:
        path: the file.
        resumable: it must also have the state of a training.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this package, or its weights are not finite.
    """
    check_file("checkpoint", path)
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        if resumable:
            check_resumable(content)
        check_plain(content[RECORD])
        record, state = from_plain(CheckpointRecord, upgrade(content[RECORD]), "record"), content["state_dict"]
        if record.schema != SCHEMA:
            raise ValueError(f"record of version {record.schema}")
        check_ranges(record.classes, record.model, record.data, record.seed)
        weights = {name.removeprefix(PREFIX): state[name] for name in state if name.startswith(PREFIX)}
        check_weights(weights)
        damaged = next((name for name, values in weights.items() if not _is_finite(values)), None)
    except Exception as error:
        raise _foreign(path, error) from error
    if damaged is not None:
        raise UserError(
            f"checkpoint={path} has weights that are NaN or infinite ({damaged}): its training diverged. Use another "
            "checkpoint, or train again with a lower learning rate, optimizer.lr."
        )
    return Content(record, weights)


def load(path: Path) -> Loaded:
    """Build the network of a checkpoint without running anything that the file contains.

    Raises:
        UserError: raised by `read`, or the weights do not fit the network that the record describes.
    """
    from fpcn_lightning import build  # here, so that a module can be trained where Hydra is not installed

    record, weights = read(path)
    try:
        network = build.network(record.model, len(record.classes), record.data.crop, trusted=False)
    except UserError:
        raise
    except Exception as error:
        raise _foreign(path, error) from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"checkpoint={path} does not fit the network that it describes: {first}") from error
    return Loaded(network.eval(), record)


def _is_finite(values: object) -> bool:
    if not isinstance(values, torch.Tensor) or not values.is_floating_point():
        return True  # what is no tensor does not fit the network
    return bool(values.isfinite().all())


def _foreign(path: Path, error: Exception) -> UserError:
    # The messages of ValueErrors are this package's own; others may hold pages of what the file contains.
    ours = isinstance(error, ValueError | UserError)
    reason = " ".join(str(error).split())[:MAX_REASON].rstrip(".") if ours else type(error).__name__
    return UserError(
        f"checkpoint={path} is not a checkpoint of fpcn_lightning ({reason}): give one that task=train "
        "wrote, such as outputs/EXPERIMENT/VARIANT/seed-0/checkpoints/best.ckpt."
    )
