"""Checkpoints are data: tensors and plain values, never code.

Beside Lightning's own entries a checkpoint of ours carries a record: the `model` section, the class names, the sizes of
the pictures, and the fingerprint of the split. That is all it takes to build the network again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fpcn_lightning import build
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.classifier import RECORD

SCHEMA = 1
PREFIX = "network."


class Loaded(NamedTuple):
    """A network with its trained weights, and the record that came with it."""

    network: Network
    record: dict[str, Any]


def make_record(
    config: Mapping[str, Any], classes: tuple[str, ...], fingerprint: str, teacher: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What a checkpoint says about its network, and about the teacher that it learned from."""
    keys = ("model", "data", "loss", "optimisation", "seed", "name", "variant")
    own = {"schema": SCHEMA, "classes": list(classes), "split": fingerprint, **{key: config[key] for key in keys}}
    return own if teacher is None else {**own, "teacher": dict(teacher)}


class Content(NamedTuple):
    """What a checkpoint of ours holds: its record, and the weights of the network by name."""

    record: dict[str, Any]
    weights: dict[str, torch.Tensor]


def read(path: Path) -> Content:
    """Read a checkpoint of ours as tensors and plain values.

    Raises:
        UserError: the file is missing, damaged, or no checkpoint of ours.
    """
    if not path.is_file():
        raise UserError(f"checkpoint={path} is no file.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        record, state = content[RECORD], content["state_dict"]
        if record["schema"] != SCHEMA:
            raise ValueError(f"record of version {record['schema']}")
        return Content(record, {name.removeprefix(PREFIX): state[name] for name in state if name.startswith(PREFIX)})
    except Exception as error:
        raise _foreign(path, error) from error


def load(path: Path) -> Loaded:
    """Build the network of a checkpoint without running anything that the file contains.

    Raises:
        UserError: what `read` says, or the weights do not fit the file's own description of the network.
    """
    record, weights = read(path)
    try:
        classes, size = len(record["classes"]), int(record["data"]["crop"])
        network = build.network(record["model"], classes, size, trusted=False)
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


def _foreign(path: Path, error: Exception) -> UserError:
    return UserError(
        f"checkpoint={path} is no checkpoint of fpcn_lightning ({type(error).__name__}): give one that task=train "
        "wrote, such as outputs/EXPERIMENT/VARIANT/seed-0/checkpoints/best.ckpt."
    )
